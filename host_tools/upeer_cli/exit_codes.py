"""Exit codes of every `upeer` command. `docs/errors.md` shows this table; a test compares the two."""

OK = 0
FAILURE = 1
USAGE = 2
UNREACHABLE = 3
AUTHENTICATION = 4
TIME_OUT = 5
INTEGRITY = 6
NO_RESOURCE = 7
INTERRUPTED = 130

MEANINGS = {
    OK: "It worked.",
    FAILURE: "An expected failure that no other code names: a missing file, a port in use, a bad configuration.",
    USAGE: "The command line itself is wrong: unknown option, missing argument, malformed DID.",
    UNREACHABLE: "The peer cannot be reached: unknown, offline or forbidden device (one answer for all), no server.",
    AUTHENTICATION: "Keys do not fit: wrong licence, CRCKey, P2PKey, setup code or pair key; expired or revoked.",
    TIME_OUT: "The peer was reached but did not answer in time.",
    INTEGRITY: "Data arrived or was read damaged: wrong hash, corrupt image, corrupt licence record.",
    NO_RESOURCE: "Something ran out: disk space, memory, sessions, a relay.",
    INTERRUPTED: "The user pressed Ctrl-C.",
}
