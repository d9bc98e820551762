"""What a recipe says under `cleaning:`; without a threshold nothing is left out."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

PersonalKind = Literal["email", "phone", "card", "iban"]
"""What can be found in texts and taken out."""


class ImageCleaning(BaseModel):
    """Which images are left out; they are measured in grey, their longest side at most 512 pixels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_side: int | None = Field(default=None, ge=1)
    """Pixels that the shorter side has at least."""
    max_aspect: float | None = Field(default=None, ge=1)
    """How many times the longer side may be as long as the shorter one."""
    min_brightness: float | None = Field(default=None, ge=0, le=255)
    """Mean brightness, from 0 for black to 255 for white; 20 leaves out what is nearly black."""
    max_brightness: float | None = Field(default=None, ge=0, le=255)
    min_contrast: float | None = Field(default=None, ge=0, le=128)
    """Standard deviation of brightness; 2 leaves out blank images."""
    min_sharpness: float | None = Field(default=None, ge=0)
    """Variance of the Laplacian; sharp photographs have hundreds, below 50 most are blurred. Try it out."""

    @property
    def looks(self) -> bool:
        """Whether the pixels must be looked at."""
        thresholds = (self.min_brightness, self.max_brightness, self.min_contrast, self.min_sharpness)
        return any(threshold is not None for threshold in thresholds)


class TextCleaning(BaseModel):
    """Which texts are left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_characters: int | None = Field(default=None, ge=1)
    """Without white space at either end."""
    max_characters: int | None = Field(default=None, ge=1)
    languages: tuple[str, ...] | None = Field(default=None, min_length=1)
    """ISO 639-1 codes, such as `[en, de]`; identified by py3langid."""
    min_language_characters: int = Field(default=20, ge=1)
    """Texts with fewer letters are in any language."""
    mojibake: bool = True
    """False leaves out texts read in a wrong encoding, such as `schÃ¶n`, or that have lost characters."""

    @field_validator("languages")
    @classmethod
    def _known(cls, languages: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if languages is not None:
            wrong = [code for code in languages if not (len(code) == 2 and code.isalpha() and code.islower())]
            if wrong:
                raise ValueError(f"{wrong[0]!r} is no ISO 639-1 code, such as `en`")
        return languages


class CleaningConfig(BaseModel):
    """What is left out of all sources, and taken out of texts; every drop has its reason in the ledger."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: ImageCleaning = ImageCleaning()
    texts: TextCleaning = TextCleaning()
    scrub: tuple[PersonalKind, ...] = ()
    """Personal data that are replaced in texts: `[email]` stands where an address was."""
    phone_region: str | None = Field(default=None, pattern=r"^[A-Z]{2}$")
    """The country whose telephone numbers are found without their `+49` too, such as `DE`."""

    @model_validator(mode="after")
    def _ordered(self) -> CleaningConfig:
        pairs = (
            ("images", self.images.min_brightness, self.images.max_brightness, "brightness"),
            ("texts", self.texts.min_characters, self.texts.max_characters, "characters"),
        )
        for section, low, high, what in pairs:
            if low is not None and high is not None and low > high:
                raise ValueError(
                    f"{section}: nothing fits between min_{what} {low:g} and max_{what} {high:g}"
                )
        return self
