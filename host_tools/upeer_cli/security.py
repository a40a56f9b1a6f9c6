"""`upeer security`: the eFuse plan of a recipe - shown, rehearsed on a virtual chip, burned for ever on a board."""

from pathlib import Path
from typing import Any

import click

from upeer_cli import exit_codes
from upeer_cli.common import UserError, examples, json_option, report
from upeer_cli.flash import confirm, load_recipe, recipe_options

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(epilog=examples("upeer security plan --recipe line.toml", "upeer security rehearse --recipe line.toml"))
def security() -> None:
    """Rehearse and burn what a recipe's [efuses] asks for."""


@security.command(epilog=examples("upeer security plan --recipe line.toml --pin SHA256"))
@recipe_options
@json_option
def plan(recipe_path: Path | None, pin: str | None, json_mode: bool) -> None:
    """Show what would be burned, in which order, and how the eFuses look afterwards."""
    made = _plan(recipe_path, pin)
    report(made.as_dict(), json_mode, lambda: _describe(made))


@security.command(
    epilog=examples(
        "upeer security rehearse --recipe line.toml",
        "upeer security rehearse --recipe line.toml --efuse-file chip.efuses",
    )
)
@recipe_options
@click.option("--efuse-file", type=_FILE, help="The virtual chip's eFuses; kept. Without it they are thrown away.")
@json_option
def rehearse(recipe_path: Path | None, pin: str | None, efuse_file: Path | None, json_mode: bool) -> None:
    """Burn the plan on espefuse's virtual chip and compare the state afterwards with what the plan promises."""
    from upeer_factory.efuses import run as security_run

    made = _plan(recipe_path, pin)
    changed = security_run.rehearse(made, efuse_file)
    data = {"chip": made.chip, "target": str(efuse_file or "virtual"), "changed": changed}
    report(data, json_mode, lambda: _changes(changed, f"rehearsed on a virtual {made.chip}; the state is as planned"))


@security.command(
    epilog=examples(
        "upeer security burn --recipe line.toml --pin SHA256 --port /dev/ttyUSB0",
        "upeer security burn --recipe line.toml --pin SHA256 --port /dev/ttyUSB0 --resume",
        "upeer security burn --recipe line.toml --pin SHA256 --efuse-file chip.efuses --yes",
    )
)
@recipe_options
@click.option("--port", metavar="PORT", help="The board's port.")
@click.option("--efuse-file", type=_FILE, help="A virtual chip in place of a board.")
@click.option("--resume", is_flag=True, help="Go on where a burn of this recipe broke off.")
@click.option("--yes", is_flag=True, help="Do not ask. eFuses cannot be mended.")
@json_option
def burn(
    recipe_path: Path | None, pin: str | None, port: str | None, efuse_file: Path | None,
    resume: bool, yes: bool, json_mode: bool,
) -> None:  # fmt: skip
    """Burn the plan for ever: rehearsed first, compared afterwards, refused on a board that was burned before.

    With --resume only what is missing is burned, if all that is there is of this plan and in its order.
    """
    from upeer_factory.efuses import run as security_run

    if (port is None) == (efuse_file is None):
        raise UserError("name the board", "with --port PORT, or --efuse-file FILE for a virtual one", exit_codes.USAGE)
    if pin is None:
        raise UserError("burning needs the recipe's pin", "add --pin SHA256", exit_codes.USAGE)
    made = _plan(recipe_path, pin)
    target = security_run.Target(made.chip, port or "", efuse_file)
    confirm(f"{_describe(made)}\nBurn this into {target.name}? It can never be undone.", yes)
    changed = security_run.burn(made, target, security_run.Options(resume=resume))
    data = {"chip": made.chip, "target": target.name, "recipe": pin, "changed": changed}
    title = f"burned into {target.name}" if changed else f"{target.name} has it all; nothing was burned"
    report(data, json_mode, lambda: _changes(changed, f"{title}; the state is as rehearsed"))


def _plan(recipe_path: Path | None, pin: str | None) -> Any:
    from upeer_factory.efuses.plan import plan as make_plan

    return make_plan(load_recipe(recipe_path, pin))


def _describe(made: Any) -> str:
    lines = [f"{made.chip}, {len(made.steps)} steps, none of which can be undone:"]
    lines += [f"  {number}. {step.why}: {' '.join(step.arguments)}" for number, step in enumerate(made.steps, 1)]
    return "\n".join(lines + [f"  Mind: {text}" for text in made.warnings])


def _changes(changed: dict[str, Any], title: str) -> str:
    return "\n".join([title, *[f"  {name}: {before} -> {after}" for name, (before, after) in sorted(changed.items())]])
