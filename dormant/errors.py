"""The one error that is the caller's to mend."""


class BadInput(ValueError):
    """Input that cannot be used: `<what must hold>; got <value> at <tensor, file or pair>; <what to do>`."""


class NotServed(BadInput):
    """A pair that a measurement is not made for (family, context, too few prompts): a claim that needs it does not apply."""


def first_line(error: BaseException) -> str:
    """What a foreign error says, short enough to stand inside a sentence."""
    first, *more = (str(error).strip() or type(error).__name__).splitlines()
    return f"{first} {more[0].strip()}" if first.endswith(":") and more else first
