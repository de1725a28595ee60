"""Which licences are asked for, and the words a network command says before it asks."""

from __future__ import annotations

from enum import StrEnum

from train.catalog.licences import Licence


class Licences(StrEnum):
    """What may be done with the pictures that are asked for."""

    shippable = "shippable"  # a model trained on them may be passed on
    stated = "stated"  # and those for non-commercial use, or without derivatives
    any = "any"  # and those of which nothing is known

    @property
    def words(self) -> str:
        """For the sentence that says what is asked for."""
        return {
            "shippable": "CC0, CC BY, CC BY-SA or public domain",
            "stated": "any Creative Commons licence, those that do not let a model be passed on among them",
            "any": "any licence or none; a model trained on them may not be passed on",
        }[self.value]

    def takes(self, licence: Licence) -> bool:
        """Whether a picture of this licence is wanted."""
        stated = licence.kind.startswith("CC ")
        return licence.ships or (stated and self is not Licences.shippable) or self is Licences.any
