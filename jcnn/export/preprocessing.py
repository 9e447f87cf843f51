"""How an example becomes a network's input, in words that travel with the network."""

from __future__ import annotations

from jcnn.axes import times
from jcnn.config import Experiment


def preprocessing(experiment: Experiment) -> str:
    """Say what must be done to an image or a recording before the network sees it."""
    data = experiment.data
    said = [f"The input is float32 of (batch, {times(experiment.input_shape)}), channels last."]
    front_end = getattr(data, "front_end", None)
    if front_end is not None:
        fields = ", ".join(f"{key} {value}" for key, value in front_end.model_dump().items())
        said.append(
            "A recording (mono) becomes log energies in mel bands: Hamming-windowed power spectra "
            "in triangular bands equally wide in 2595 log10(1 + Hz / 700), averaged over the "
            f"subframes of a frame, as logarithms, cut or centred to frame_count: {fields}."
        )
    if getattr(data, "resize", None):
        said.append(
            f"An image's shorter side is made {data.resize} long and the middle square of "  # type: ignore[attr-defined]
            f"{experiment.input_shape[0]} pixels is cut out."
        )
    if data.scale is not None:
        # of one channel, a number
        mean, deviation = (part[0] if len(part) == 1 else part for part in data.scale)
        scale = (
            "published values (-1 black, 1 white)" if data.name == "usps" else "pixels in [0, 1]"
        )
        said.append(f"x = ({scale} - {mean}) / {deviation}.")
    return " ".join(said)
