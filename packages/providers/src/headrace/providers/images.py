"""Images of a request, for the vendors that want the data apart from its type."""

from msgspec import Struct


class InlineImage(Struct, frozen=True):
    """An image in the request itself.

    Attributes:
        media_type: `image/png` and so on.
        data: its bytes in base64.
    """

    media_type: str
    data: str


def read_data_url(url: str) -> InlineImage | None:
    """Return the image of a `data:` URL, or None where it is none or is not in base64."""
    head, comma, data = url.partition(",")
    scheme, _, rest = head.partition(":")
    media_type, *parameters = rest.split(";")
    if scheme != "data" or not comma or "base64" not in parameters or not media_type.startswith("image/"):
        return None
    return InlineImage(media_type, data)
