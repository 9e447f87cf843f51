"""The small network that tests of what one does with a run share."""

LAYERS = """
[[layers]]
type = "conv"
features = 2
window = 3
[[layers]]
type = "relu_max_pool"
window = 2
[[layers]]
type = "flatten"
[[layers]]
type = "dense"
features = 10
"""
_SETTINGS = """
name = "small"
[data]
name = "digits"
train_count = 200
[optimizer]
name = "sgd"
learning_rate = 0.1
[training]
epochs = 2
"""
CONFIG = _SETTINGS + LAYERS
