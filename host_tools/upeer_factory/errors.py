"""What goes wrong with licences, proof, labels, records and eFuses, with codes as in `faults`: E10 and up.

`WHAT_TO_DO` is the one table of them; docs/factory.md shows it.
"""

from upeer_office.errors import AUTHENTICATION, FAILURE, INTEGRITY, UNREACHABLE

NO_RESOURCE = 7

POOL_EMPTY = "E10"
POOL_DOWN = "E11"
SCRAPPED = "E12"
WRONG_KEY = "E13"
POOL_DATA = "E14"
NO_BOARD = "E20"
SWAPPED = "E21"
NOT_WRITTEN = "E22"
READ_BACK = "E23"
NO_FIRMWARE = "E24"
NO_PROOF = "E25"
SELFTEST = "E26"
LINE_SERVER = "E27"
PRINTER = "E30"
RECORDS = "E31"
MES = "E32"
FUSES_DIFFER = "E40"
BURNED_ELSEWHERE = "E41"
NOT_SECURED = "E42"
OTHER_RECIPE = "E43"

# code: what the worker does, exit code of the command line
WHAT_TO_DO = {
    POOL_EMPTY: ("import more licences with 'upeer pool import'", NO_RESOURCE),
    POOL_DOWN: ("check the pool's disk or database server, then run it again: nothing is lost", UNREACHABLE),
    SCRAPPED: ("put the board with the scrap", FAILURE),
    WRONG_KEY: ("name the right key file", AUTHENTICATION),
    POOL_DATA: ("call the engineer: 'upeer audit verify' tells more", INTEGRITY),
    NO_BOARD: ("check the cable and the port, then run it again", UNREACHABLE),
    SWAPPED: ("start again with one board; both are as good as before", FAILURE),
    NOT_WRITTEN: ("run it again; if it stays so, put the board aside", FAILURE),
    READ_BACK: ("run it again; if it stays so, the flash is bad: put the board aside", INTEGRITY),
    NO_FIRMWARE: ("flash the board first", FAILURE),
    NO_PROOF: ("run it again; if it stays so, put the board aside", AUTHENTICATION),
    SELFTEST: ("put the board aside for repair", FAILURE),
    LINE_SERVER: ("end what uses the ports, or name others for the self-test's server", NO_RESOURCE),
    PRINTER: ("check the printer, then 'upeer label' prints it again", UNREACHABLE),
    RECORDS: ("call the auditor; go on from a backup only", INTEGRITY),
    FUSES_DIFFER: ("set the board aside: eFuses cannot be mended", INTEGRITY),
    BURNED_ELSEWHERE: ("set the board aside: nobody here knows who holds its keys", AUTHENTICATION),
    NOT_SECURED: ("run it again: it goes on where it was; if it stays so, set the board aside", FAILURE),
    OTHER_RECIPE: ("take the station with the recipe that this board was secured with", FAILURE),
    MES: ("it stays in the outbox; run it again later", UNREACHABLE),
}


class FactoryError(Exception):
    """An expected failure at the line. `code` is one of this module's; `hint` says what to do next."""

    def __init__(self, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(f"{message} ({code})")
        todo, self.exit_code = WHAT_TO_DO[code]
        self.code, self.text, self.hint = code, message, hint or todo
