"""What must arrive exactly once and is not stream data: COMMAND, COMMAND_ANSWER, RESET_STREAM, STOP_SENDING frames.

A frame is kept as bytes until a packet that held it is acknowledged; frames are few, so plain lists do.
"""

_WAITING = -1


class Outbox:
    """`has_waiting`: something is to be written into the next packet."""

    def __init__(self):
        self.has_waiting = False
        self._frames = []
        self._numbers = []  # of the packet that held the frame last
        self._targets = []

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, frame, target) -> None:
        """Queue a frame; target.on_reset_acked() is called when it was delivered, if there is a target."""
        self._frames.append(frame)
        self._numbers.append(_WAITING)
        self._targets.append(target)
        self.has_waiting = True

    def write(self, view, pos: int, end: int, number: int) -> int:
        """Write waiting frames, as many as fit, into packet `number`; return the position behind them."""
        self.has_waiting = False
        for i in range(len(self._frames)):
            if self._numbers[i] == _WAITING:
                frame = self._frames[i]
                stop = pos + len(frame)
                if stop > end:
                    self.has_waiting = True
                    break
                view[pos:stop] = frame
                pos = stop
                self._numbers[i] = number
        return pos

    def on_delivery(self, number: int, is_acked: bool) -> None:
        """Handle the fate of packet `number`, which held frames."""
        i = len(self._numbers) - 1
        while i >= 0:
            if self._numbers[i] == number:
                if is_acked:
                    self._numbers.pop(i)
                    self._frames.pop(i)
                    target = self._targets.pop(i)
                    if target is not None:
                        target.on_reset_acked()
                else:
                    self._numbers[i] = _WAITING
                    self.has_waiting = True
            i -= 1
