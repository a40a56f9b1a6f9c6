"""What a device knows of one of its servers. Made by `enrol`, kept by the registrar."""


class Server:
    """One server and how we stand with it: we wait (`due`), try (`login`) or are in (`control`).

    `source` is the master that named a p2p server last. The class stays loaded as long as its objects live: each of
    them would keep all of a module that is dropped.
    """

    def __init__(self, role: int, number: int, address: tuple):
        self.role = role
        self.number = number
        self.address = address
        self.key = b""
        self.ticket = b""
        self.source = 0
        self.failures = 0
        self.due = None
        self.login = None
        self.control = None
