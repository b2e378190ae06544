"""What is served now: the names that a request may ask for, as they are listed. A reload replaces it as a whole."""

from collections.abc import Mapping

from msgspec import Struct

from headrace.schema.settings import ModelSettings, served_names


class ServedModel(Struct, frozen=True, kw_only=True):
    """A served name.

    Attributes:
        created: Unix seconds.
        owned_by: the owner.
        max_model_tokens: context length, where it is known; of a route, the longest of its targets'.
        embeds: whether it makes embeddings and nothing else, or answers and nothing else; None where that depends.
        answered_by: of a route, the names of all that may answer.
    """

    created: int
    owned_by: str
    max_model_tokens: int | None = None
    embeds: bool | None = None
    answered_by: tuple[str, ...] = ()


class Catalogue:
    """The served names of now.

    Attributes:
        models: each with what is said of it.
    """

    def __init__(self, models: Mapping[str, ServedModel]) -> None:
        self.models = models

    def context_of(self, name: str) -> int | None:
        """Return the context length of a served name, where it is known."""
        model = self.models.get(name)
        return None if model is None else model.max_model_tokens

    def answered_by(self, name: str) -> tuple[str, ...]:
        """Return who may answer to a served name, where those have names of their own."""
        model = self.models.get(name)
        return () if model is None else model.answered_by

    def use(self, models: Mapping[str, ServedModel]) -> None:
        """Serve these from now on."""
        self.models = models


def list_models(models: Mapping[str, ModelSettings]) -> dict[str, ServedModel]:
    """Return our own models and their adapters."""
    return {name: _list_model(models[model]) for name, model in served_names(models).items()}


def _list_model(model: ModelSettings) -> ServedModel:
    return ServedModel(
        created=model.created,
        owned_by=model.owned_by,
        max_model_tokens=model.max_model_tokens,
        embeds=model.task == "embed",
    )
