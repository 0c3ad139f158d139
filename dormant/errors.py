"""The one error that is the caller's to mend."""


class BadInput(ValueError):
    """Input that cannot be used: `<what must hold>; got <value> at <tensor, file or pair>; <what to do>`."""


def first_line(error: BaseException) -> str:
    """What a foreign error says, short enough to stand inside a sentence."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
