"""The longest stretch of the device's loop between two polls of its sockets, and what the five worst are made of."""

import stretches
from figures import report

_WORST = 5


def main() -> None:
    """Measure once; tell the longest before the network is up and after."""
    found = stretches.measure()
    report("stretch_start", stretches.longest(found, is_start=True))
    report("stretch_longest", stretches.longest(found, is_start=False))
    for stretch in [stretch for stretch in found if not stretch.is_start][:_WORST]:
        print(f"  {stretch}")


if __name__ == "__main__":
    main()
