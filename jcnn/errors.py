"""The exception for what a user can mend, and the hint at the nearest known name."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in what the user gave: a key, a layer, a file.

    The message is one sentence that names the place, says what was expected and what was found.
    The command line prints it and ends with exit code 2.
    """


class Elsewhere(Exception):  # noqa: N818 (somebody else's error)
    """Another of the processes that work together has a mistake to report, and does."""


# What Keras's and PyTorch's users write, in lower case and without underscores: our word for it.
_ELSEWHERE = {
    **dict.fromkeys(("kernelsize", "kernel", "poolsize", "windowsize"), "window"),
    **dict.fromkeys(("filters", "units", "outchannels", "outfeatures", "channels"), "features"),
    **dict.fromkeys(("lr", "stepsize"), "learning_rate"),
    **dict.fromkeys(("stride",), "strides"),
    **dict.fromkeys(("dilationrate",), "dilation"),
    **dict.fromkeys(("p", "rate", "dropout"), "drop_rate"),
    **dict.fromkeys(("numepochs", "nepochs", "maxepochs"), "epochs"),
    **dict.fromkeys(("bs", "batch", "minibatch"), "batch_size"),
    **dict.fromkeys(("l2", "wd"), "weight_decay"),
    **dict.fromkeys(("clipbynorm", "clipgradnorm", "clipnorm"), "clip_by_global_norm"),
    **dict.fromkeys(("clipvalue", "clipbyvalue", "clipgradvalue"), "clip"),
    **dict.fromkeys(("exponentialdecayschedule", "exponentiallr"), "exponential_decay"),
    **dict.fromkeys(("cosineannealinglr", "cosine", "cosinedecay"), "cosine_decay_schedule"),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution"), "conv"),
    **dict.fromkeys(("linear", "fc", "fullyconnected", "innerproduct"), "dense"),
    **dict.fromkeys(("maxpool1d", "maxpool2d", "maxpooling2d", "maxpooling1d"), "max_pool"),
    **dict.fromkeys(("avgpool2d", "averagepooling2d", "avgpool"), "average_pool"),
    **dict.fromkeys(("globalaveragepooling2d", "adaptiveavgpool2d"), "global_average_pool"),
    **dict.fromkeys(("batchnorm1d", "batchnorm2d", "batchnormalization"), "batch_norm"),
    **dict.fromkeys(("crossentropy", "crossentropyloss"), "softmax_cross_entropy"),
    **dict.fromkeys(("categoricalcrossentropy", "nllloss"), "softmax_cross_entropy"),
    "sparsecategoricalcrossentropy": "softmax_cross_entropy",
    **dict.fromkeys(("mse", "mseloss", "l2loss"), "mean_squared_error"),
    **dict.fromkeys(("bce", "bcewithlogitsloss", "binarycrossentropy"), "binary_cross_entropy"),
    **dict.fromkeys(("randomhorizontalflip", "mirror"), "flip"),
    **dict.fromkeys(("randomcrop", "randomresizedcrop"), "crop"),
    **dict.fromkeys(("colorjitter", "colourjitter", "colour"), "color"),
    **dict.fromkeys(("randomrotation", "rotate", "rotation"), "affine"),
}


def command(*words: object) -> str:
    """Write one of jcnn's commands as a shell takes it, for messages that name it.

    >>> command("train", "my photos.toml", "--resume")
    "jcnn train 'my photos.toml' --resume"
    """
    return shlex.join(["jcnn", *map(str, words)])


def nearest(word: str, known: Iterable[str]) -> str:
    """Hint at the known name closest to ``word``, or at ours for what other libraries call so.

    >>> nearest("epoch", ["epochs", "batch_size"])
    " (did you mean 'epochs'?)"
    >>> nearest("adma", ["adamax", "adam"])
    " (did you mean 'adam'?)"
    >>> nearest("AdamW", ["radam", "adamw"]), nearest("kernel_size", ["window"])
    (" (did you mean 'adamw'?)", " (did you mean 'window'?)")
    >>> nearest("cosine_decay", ["exponential_decay", "cosine_decay_schedule"])
    " (did you mean 'cosine_decay_schedule'?)"
    >>> nearest("zzz", ["epochs"])
    ''
    """
    known = list(known)
    plain = word.lower().replace("_", "").replace("-", "")
    if _ELSEWHERE.get(plain) in known:
        return f" (did you mean '{_ELSEWHERE[plain]}'?)"
    same = [name for name in known if name.lower().replace("_", "") == plain]
    if same or (matches := difflib.get_close_matches(word.lower(), known, n=5)):
        return f" (did you mean '{_likest(word.lower(), same or matches)}'?)"
    held = [name for name in known if len(plain) > 3 and plain in name.replace("_", "")]
    return f" (did you mean '{min(held, key=len)}'?)" if held else ""


def _likest(word: str, names: list[str]) -> str:
    """Choose among near names, of which some may be equally near.

    What begins as the word does, or as which the word begins, has been cut short or made longer.
    Of others, one of the word's own length: a slip of the finger rarely adds letters.
    """
    cut = [name for name in names if len(word) > 3 and name.startswith(word)]
    longer = [name for name in names if len(name) > 3 and word.startswith(name)]
    if cut or longer:
        return min(cut, key=len) if cut else max(longer, key=len)
    return min(names, key=lambda name: abs(len(name) - len(word)))


def unknown(word: str, known: Iterable[str]) -> str:
    """Say that a word is none of the known ones, and name the nearest, or all.

    >>> unknown("relo", ["relu", "tanh"]), unknown("x", ["relu", "tanh"])
    ("unknown 'relo' (did you mean 'relu'?)", "unknown 'x'; known are relu, tanh")
    """
    known = list(known)
    return f"unknown '{word}'" + (nearest(word, known) or f"; known are {', '.join(known)}")
