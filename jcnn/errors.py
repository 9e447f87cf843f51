"""The exception for what a user can mend, the hint at the nearest known name, and how many."""

from __future__ import annotations

import difflib
import errno
import re
import shlex
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in what the user gave: a key, a layer, a file.

    The message is one sentence that names the place, says what was expected and what was found.
    The command line prints it and ends with exit code 2.
    """

    def __init__(self, message: object = "") -> None:
        """Escape what is no UTF-8, as a disk's names may be, so that the message can be written."""
        super().__init__(str(message).encode(errors="backslashreplace").decode())


def counted(count: int, one: str, many: str = "") -> str:
    """Return a count and its word.

    >>> counted(1, "class", "classes"), counted(1234, "step")
    ('1 class', '1,234 steps')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


LONGEST_NAME = 255  # bytes of a file's or a folder's name, that a system takes


def system_words(error: OSError) -> str:
    """Return the system's own words for an error; of a name that is too long, what it takes."""
    words = error.strerror or str(error)
    if error.errno != errno.ENAMETOOLONG:
        return words
    return f"{words}: expected {LONGEST_NAME} bytes at most between two slashes"


class Elsewhere(Exception):  # noqa: N818 (somebody else's error)
    """Another of the processes that work together has a mistake to report, and does."""


# What Keras's, PyTorch's and Optax's users write, in lower case and without underscores: our word.
_ELSEWHERE = {
    **dict.fromkeys(("kernelsize", "kernel", "poolsize", "windowsize", "windowshape"), "window"),
    **dict.fromkeys(("filters", "units", "outchannels", "outfeatures", "channels"), "features"),
    **dict.fromkeys(("lr", "stepsize"), "learning_rate"),
    **dict.fromkeys(("stride",), "strides"),
    **dict.fromkeys(("dilationrate",), "dilation"),
    **dict.fromkeys(("p", "rate", "dropout"), "drop_rate"),
    **dict.fromkeys(("numepochs", "nepochs", "maxepochs"), "epochs"),
    **dict.fromkeys(("bs", "batch", "minibatch"), "batch_size"),
    **dict.fromkeys(("l2", "wd"), "weight_decay"),
    **dict.fromkeys(("kernelinitializer", "init"), "initializer"),
    **dict.fromkeys(("alpha", "negativeslope"), "slope"),
    **{"usebias": "bias", "biasinitializer": "bias_value", "eps": "epsilon", "epsilon": "eps"},
    **{"beta1": "b1", "beta2": "b2"},
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), "conv"),
    **dict.fromkeys(("convolution", "convolution1d", "convolution2d"), "conv"),
    **dict.fromkeys(("convtranspose2d", "conv2dtranspose", "deconv"), "conv_transpose"),
    **dict.fromkeys(("linear", "fc", "fullyconnected", "innerproduct"), "dense"),
    **dict.fromkeys(("maxpool1d", "maxpool2d", "maxpooling2d", "maxpooling1d"), "max_pool"),
    **dict.fromkeys(("avgpool2d", "averagepooling2d", "avgpool"), "average_pool"),
    **dict.fromkeys(("globalaveragepooling2d", "adaptiveavgpool2d"), "global_average_pool"),
    **dict.fromkeys(("globalmaxpooling2d", "adaptivemaxpool2d"), "global_max_pool"),
    **dict.fromkeys(("batchnorm1d", "batchnorm2d", "batchnormalization"), "batch_norm"),
    **dict.fromkeys(("dropout1d", "dropout2d", "spatialdropout2d"), "dropout"),
    **dict.fromkeys(("zeropad2d", "zeropadding2d"), "pad"),
    "lrn": "local_response_norm",
    **dict.fromkeys(("crossentropy", "crossentropyloss"), "softmax_cross_entropy"),
    **dict.fromkeys(("categoricalcrossentropy", "nllloss"), "softmax_cross_entropy"),
    "sparsecategoricalcrossentropy": "softmax_cross_entropy",
    **dict.fromkeys(("mse", "mseloss", "l2loss"), "mean_squared_error"),
    **dict.fromkeys(("bce", "bceloss", "bcewithlogitsloss"), "binary_cross_entropy"),
    **dict.fromkeys(("randomhorizontalflip", "mirror"), "flip"),
    **dict.fromkeys(("randomcrop", "randomresizedcrop"), "crop"),
    **dict.fromkeys(("colorjitter", "colourjitter", "colour"), "color"),
    **dict.fromkeys(("randomrotation", "rotate", "rotation"), "affine"),
    **dict.fromkeys(("steplr", "multisteplr", "piecewise"), "piecewise_constant_schedule"),
    **dict.fromkeys(("cosineannealing", "cosineannealinglr"), "cosine_decay_schedule"),
    **dict.fromkeys(("cosinedecayrestarts", "cosineannealingwarmrestarts"), "sgdr_schedule"),
    **dict.fromkeys(("onecycle", "onecyclelr"), "cosine_onecycle_schedule"),
    **dict.fromkeys(("linearlr", "lineardecay", "linearwarmup"), "linear_schedule"),
    **{"exponentiallr": "exponential_decay"},
    **{"constantlr": "constant_schedule", "polynomiallr": "polynomial_schedule"},
    **dict.fromkeys(("clipgradnorm", "clipnorm", "globalclipnorm"), "clip_by_global_norm"),
    **dict.fromkeys(("clipgradvalue", "clipvalue"), "clip"),
    **{"weightdecay": "add_decayed_weights"},
}
_SAME, _SLIP, _BEGINS, _CONTAINED, _SIMILAR, _OTHER = range(6, 0, -1)


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
    ours = _ELSEWHERE.get("".join(_parts(word)))
    if ours in known:
        return f" (did you mean '{ours}'?)"
    closeness = {name: _closeness(word, name) for name in known}
    best = max(known, key=closeness.__getitem__, default=None)
    if best is None or closeness[best][0] == _OTHER:
        return ""
    return f" (did you mean '{best}'?)"


def _closeness(word: str, name: str) -> tuple[int, float]:
    """How close two names are: in which way, and their ratio of equal letters."""
    own, its = _parts(word), _parts(name)
    a, b = "_".join(own), "_".join(its)
    ratio = difflib.SequenceMatcher(None, b, a).ratio()
    short, long = sorted((own, its), key=len)
    swapped = len(own) == len(its) and sorted(a) == sorted(b)
    if not short:
        way = _OTHER
    elif "".join(own) == "".join(its):
        way = _SAME
    elif swapped or (ratio >= 0.87 and abs(len(a) - len(b)) <= 2):
        # two letters exchanged are one slip, and two to the ratio
        way, ratio = _SLIP, 1.0 if swapped else ratio
    elif _in_order(short, long):
        way = _BEGINS if _alike(short[0], long[0]) else _CONTAINED
    else:
        # half of what long names end in is the same by chance: "activation", "dilation"
        way = _SIMILAR if ratio >= (0.6 if len(a) < 5 else 0.7) else _OTHER
    return way, ratio


def _in_order(parts: Iterable[str], all_parts: Iterable[str]) -> bool:
    """Whether the parts stand among all parts, in their order."""
    rest = iter(all_parts)
    return all(any(_alike(part, other) for other in rest) for part in parts)


def _alike(part: str, other: str) -> bool:
    """Whether two parts are the same, but for a letter of a long one."""
    likeness = difflib.SequenceMatcher(None, part, other)
    return part == other or (len(part) > 4 and likeness.ratio() > 0.85)


def _parts(name: str) -> list[str]:
    """Split a name where one of its words begins, whichever way it is written.

    >>> _parts("CosineDecay"), _parts("cosine-decay"), _parts("conv_1.w")
    (['cosine', 'decay'], ['cosine', 'decay'], ['conv', '1', 'w'])
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    return [part for part in re.split(r"[\W_]+", spaced.lower()) if part]


def unknown(word: str, known: Iterable[str]) -> str:
    """Say that a word is none of the known ones, and name the nearest, or all.

    >>> unknown("relo", ["relu", "tanh"]), unknown("x", ["relu", "tanh"])
    ("unknown 'relo' (did you mean 'relu'?)", "unknown 'x'; known are relu, tanh")
    """
    known = list(known)
    return f"unknown '{word}'" + (nearest(word, known) or f"; known are {', '.join(known)}")
