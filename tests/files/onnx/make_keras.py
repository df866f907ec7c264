"""Adds networks of Keras to the files of this folder: run it after make.py.

    python tests/files/onnx/make_keras.py          needs keras, torch, onnx and onnxruntime (CPU)
"""

import json
import os

os.environ["KERAS_BACKEND"] = "torch"

import keras  # noqa: E402
import numpy  # noqa: E402
import onnxruntime  # noqa: E402
from keras import layers  # noqa: E402
from make import COUNT, HERE, images  # noqa: E402

keras.utils.set_random_seed(3)
NETWORKS = {
    "keras-norms": [
        layers.Input((10, 10, 2)),
        layers.Conv2D(4, 3, padding="same", use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.MaxPooling2D(2),
        layers.Conv2D(6, 3, strides=2, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.DepthwiseConv2D(3, padding="same"),
        layers.ReLU(max_value=6),
        layers.GlobalAveragePooling2D(),
        layers.Dropout(0.2),
        layers.Dense(5),
    ],
    "keras-softmax": [
        layers.Input((8, 8, 2)),
        layers.Conv2D(4, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(6, activation="relu"),
        layers.Dense(3, activation="softmax"),
    ],
}

with open(f"{HERE}/expected.json") as file:
    expected = json.load(file)
for name, parts in NETWORKS.items():
    net = keras.Sequential(parts)
    height, width, channels = net.input_shape[1:]
    x = images((COUNT, channels, height, width)).transpose(0, 2, 3, 1)
    net(x)
    for layer in net.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([numpy.random.rand(*part.shape) + 0.5 for part in layer.get_weights()])
    path = f"{HERE}/{name}.onnx"
    net.export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {session.get_inputs()[0].name: x})
    numpy.testing.assert_allclose(y, net(x).detach().numpy(), atol=1e-5)
    expected[name] = [float(v) for v in y.reshape(-1)]
with open(f"{HERE}/expected.json", "w") as out:
    json.dump(expected, out, indent=0)
