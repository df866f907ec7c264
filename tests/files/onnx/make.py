"""Makes the ONNX files of this folder: small networks with random weights, as several exporters write them.

    python tests/files/onnx/make.py          needs torch, onnx, onnxscript and onnxruntime (CPU)

Each pattern is written by PyTorch's older exporter for operator sets 11 and 17, and by its present one for 20; those that no exporter
writes are put together from nodes. `expected.json` holds what onnxruntime makes of the images of `images()`.
"""

import json
import os
import warnings

import numpy
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
COUNT = 3


def images(shape):
    """Numbers from 0 to 1 that are easily made again: (37 i + 11) mod 101, over 101."""
    count = int(numpy.prod(shape))
    return (((37 * numpy.arange(count) + 11) % 101) / 101).astype(numpy.float32).reshape(shape)


def conv(inputs, outputs, kernel=3, **settings):
    settings.setdefault("padding", kernel // 2)
    return nn.Conv2d(inputs, outputs, kernel, **settings)


class Residual(nn.Module):
    def __init__(self, stride=1):
        super().__init__()
        self.stem = conv(3, 4)
        self.conv1 = conv(4, 6, stride=stride, bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv2 = conv(6, 6, bias=False)
        self.bn2 = nn.BatchNorm2d(6)
        self.shortcut = conv(4, 6, 1, stride=stride)
        self.fc = nn.Linear(6, 5)

    def forward(self, x):
        x = F.relu(self.stem(x))
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y)) + self.shortcut(x)
        return self.fc(F.adaptive_avg_pool2d(F.relu(y), 1).flatten(1))


class DenseBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = conv(3, 4)
        self.bn1, self.conv1 = nn.BatchNorm2d(4), conv(4, 3, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(7), conv(7, 2, 1, bias=False)
        self.bn3, self.fc = nn.BatchNorm2d(9), nn.Linear(9, 4)

    def forward(self, x):
        x = self.stem(x)
        x = torch.cat([x, self.conv1(F.relu(self.bn1(x)))], 1)
        x = torch.cat([x, self.conv2(F.relu(self.bn2(x)))], 1)
        return self.fc(F.relu(self.bn3(x)).mean([2, 3]))


class Fn(nn.Module):
    """Layers by name, and a function over them."""

    def __init__(self, forward, **layers):
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.function = forward

    def forward(self, x):
        return self.function(self, x)


def upsampled(m, x):
    small = F.relu(m.a(x))
    return m.fc((F.interpolate(m.b(small), scale_factor=2.0, mode="nearest") + m.c(x)).flatten(1))


def patterns():
    seq = nn.Sequential
    yield "lenet", seq(conv(1, 4, 5), nn.ReLU(), nn.MaxPool2d(2), conv(4, 6), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(54, 8), nn.ReLU(), nn.Linear(8, 10)), (1, 12, 12)
    yield "norms", seq(conv(3, 5, bias=False), nn.BatchNorm2d(5, eps=1e-3), nn.ReLU(), conv(5, 6), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(96, 4)), (3, 4, 4)
    yield "residual", Residual(), (3, 6, 6)
    yield "residual-strided", Residual(2), (3, 8, 8)
    yield "depthwise", seq(conv(3, 4), nn.ReLU6(), conv(4, 4, groups=4, stride=2), nn.ReLU6(), conv(4, 6, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)), (3, 8, 8)
    yield "dense-block", DenseBlock(), (3, 5, 5)
    yield "average-pool", seq(conv(1, 4), nn.ReLU(), nn.AvgPool2d(3, 2), nn.Flatten(), nn.Linear(16, 4)), (1, 6, 6)
    yield "average-pool-padded", seq(conv(1, 4), nn.ReLU(), nn.AvgPool2d(3, 1, padding=1), conv(4, 3), nn.Flatten(), nn.Linear(75, 4)), (1, 5, 5)
    yield "mean", Fn(lambda m, x: m.fc(F.relu(m.a(x)).mean([2, 3])), a=conv(3, 6), fc=nn.Linear(6, 4)), (3, 7, 5)
    yield "mean-twice", Fn(lambda m, x: m.fc(F.relu(m.a(x)).mean(-1).mean(-1)), a=conv(3, 6), fc=nn.Linear(6, 4)), (3, 5, 6)
    yield "leaky", seq(conv(2, 4), nn.LeakyReLU(0.125), nn.Flatten(), nn.Linear(64, 3)), (2, 4, 4)
    yield "upsample", Fn(upsampled, a=conv(2, 4, stride=2), b=conv(4, 3), c=conv(2, 3, 1), fc=nn.Linear(48, 3)), (2, 4, 4)
    yield "uneven-pad", Fn(lambda m, x: m.fc(F.relu(m.a(F.pad(x, [0, 1, 0, 1]))).flatten(1)), a=nn.Conv2d(2, 4, 3, stride=2), fc=nn.Linear(64, 3)), (2, 8, 8)
    yield "mlp", seq(nn.Flatten(), nn.Linear(36, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 5)), (1, 6, 6)
    yield "scaled-input", Fn(lambda m, x: m.fc(F.relu(m.a((x - m.mean) / m.deviation)).flatten(1)), mean=nn.Parameter(torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1)), deviation=nn.Parameter(torch.tensor([0.2, 0.25, 0.3]).view(1, 3, 1, 1)), a=conv(3, 4), fc=nn.Linear(64, 3)), (3, 4, 4)
    yield "view", Fn(lambda m, x: m.fc(m.a(x).view(x.size(0), -1)), a=conv(1, 3), fc=nn.Linear(48, 3)), (1, 4, 4)
    yield "softmax", seq(nn.Flatten(), nn.Linear(16, 5), nn.Softmax(dim=1)), (1, 4, 4)
    yield "log-softmax", seq(conv(1, 3), nn.Flatten(), nn.Linear(48, 4), nn.LogSoftmax(dim=1)), (1, 4, 4)
    yield "grouped", seq(nn.Conv2d(4, 6, (3, 1), padding=(1, 0), groups=2), nn.ReLU(), nn.Conv2d(6, 4, (1, 5), padding=(0, 2)), nn.Flatten(), nn.Linear(64, 3)), (4, 4, 4)
    yield "joined-rows", Fn(lambda m, x: m.fc(torch.cat([F.adaptive_max_pool2d(F.relu(m.a(x)), 1).flatten(1), m.b(x).mean([2, 3])], 1)), a=conv(1, 3), b=conv(1, 5), fc=nn.Linear(8, 4)), (1, 4, 4)
    yield "dropout", seq(conv(1, 3), nn.Dropout2d(0.2), nn.Flatten(), nn.Dropout(0.5), nn.Linear(48, 4)), (1, 4, 4)
    yield "stem", seq(conv(3, 6, 7, stride=2, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Flatten(), nn.Linear(54, 4)), (3, 12, 12)
    yield "factors", Fn(lambda m, x: m.fc((F.relu(m.a(x)) * m.f + m.o).flatten(1)), a=conv(2, 4), f=nn.Parameter(torch.rand(4, 1, 1) + 0.5), o=nn.Parameter(torch.rand(4, 1, 1)), fc=nn.Linear(64, 3)), (2, 4, 4)
    yield "factors-padded", Fn(lambda m, x: m.fc(m.b(F.relu(m.a(x)) * m.f + m.o).flatten(1)), a=conv(2, 4), b=conv(4, 2), f=nn.Parameter(torch.rand(4, 1, 1) + 0.5), o=nn.Parameter(torch.rand(4, 1, 1)), fc=nn.Linear(32, 3)), (2, 4, 4)
    yield "pooled-classes", seq(conv(2, 4), nn.ReLU(), conv(4, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), (2, 6, 6)
    yield "pooled-sum", Fn(lambda m, x: m.fc((F.avg_pool2d(F.relu(m.a(x)), 3) + m.b(x)).flatten(1)), a=conv(2, 4), b=nn.Conv2d(2, 4, 3, stride=3), fc=nn.Linear(16, 3)), (2, 6, 6)


def stored(name, values):
    return numpy_helper.from_array(numpy.asarray(values, numpy.float32), name)


def assembled():
    """Networks that PyTorch does not write: channels last, as Keras exports, and rarer spellings."""
    random = numpy.random.default_rng(5)
    normal = lambda *shape: 0.3 * random.standard_normal(shape)  # noqa: E731
    image = lambda *sides: helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *sides])  # noqa: E731
    logits = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])
    node = helper.make_node
    yield "channels-last", (2, 6, 6), [
        node("Transpose", ["x"], ["a"], perm=[0, 3, 1, 2]),
        node("Conv", ["a", "w"], ["b"], auto_pad="SAME_UPPER", strides=[2, 2]),
        node("Transpose", ["b"], ["c"], perm=[0, 2, 3, 1]),
        node("Sub", ["c", "mean"], ["d"]),
        node("Mul", ["d", "gamma"], ["e"]),
        node("Add", ["e", "beta"], ["f"]),
        node("Relu", ["f"], ["g"]),
        node("Reshape", ["g", "row"], ["h"]),
        node("MatMul", ["h", "v"], ["i"]),
        node("Add", ["i", "bias"], ["y"]),
    ], {"w": normal(4, 2, 3, 3), "mean": normal(4), "gamma": normal(4) + 1, "beta": normal(4), "v": normal(36, 3), "bias": normal(3)}, {"row": [-1, 36]}, image(6, 6, 2), logits
    yield "gemm", (1, 4, 4), [
        node("Flatten", ["x"], ["a"]),
        node("Gemm", ["a", "w", "b"], ["c"], alpha=0.5, beta=2.0, transB=0),
        node("Clip", ["c", "zero"], ["d"]),
        node("Gemm", ["d", "v"], ["e"], transB=1),
        node("Sub", ["one", "e"], ["y"]),
    ], {"w": normal(16, 6), "b": normal(1, 6), "v": normal(3, 6), "zero": 0.0, "one": 1.0}, {}, image(1, 4, 4), logits
    yield "pads", (2, 5, 5), [
        node("Pad", ["x", "pads"], ["a"]),
        node("Conv", ["a", "w", "b"], ["c"], pads=[0, 1, 1, 0]),
        node("Relu", ["c"], ["d"]),
        node("GlobalMaxPool", ["d"], ["e"]),
        node("Squeeze", ["e", "axes"], ["f"]),
        node("MatMul", ["f", "v"], ["y"]),
    ], {"w": normal(4, 2, 3, 3), "b": normal(4), "v": normal(4, 3)}, {"pads": [0, 0, 1, 0, 0, 0, 0, 2], "axes": [2, 3]}, image(2, 5, 5), logits
    # Every other row, with the axes left out and the steps behind them.
    yield "sliced-weights", (1, 4, 4), [
        node("Slice", ["rows", "starts", "ends", "", "steps"], ["w"]),
        node("Flatten", ["x"], ["a"]),
        node("Gemm", ["a", "w"], ["y"], transB=1),
    ], {"rows": normal(6, 16)}, {"starts": [0, 0], "ends": [6, 16], "steps": [2, 1]}, image(1, 4, 4), logits


def settle(net):
    """Statistics and biases that are no zeros and ones."""
    generator = torch.Generator().manual_seed(7)
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            for tensor, low in [(module.weight.data, 0.5), (module.bias.data, -0.5), (module.running_mean, -0.5), (module.running_var, 0.5)]:
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + low)


def write(name, file, expected, x, close_to=None):
    onnx.checker.check_model(file, full_check=True)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {session.get_inputs()[0].name: x})
    if close_to is not None:
        numpy.testing.assert_allclose(y, close_to, atol=1e-5)
    expected[name] = [float(v) for v in y.reshape(-1)]


def main():
    warnings.simplefilter("ignore")
    expected = {}
    for name, net, shape in patterns():
        torch.manual_seed(len(expected))
        for module in net.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
        settle(net)
        net.eval()
        x = images((COUNT, *shape))
        y = net(torch.tensor(x)).detach().numpy()
        for opset in [11, 17]:
            file = f"{name}-{opset}"
            torch.onnx.export(net, (torch.tensor(x),), f"{HERE}/{file}.onnx", dynamo=False, opset_version=opset, do_constant_folding=opset == 17, input_names=["x"], dynamic_axes={"x": {0: "batch"}} if opset == 17 else None)
            write(file, f"{HERE}/{file}.onnx", expected, x, y)
        file = f"{name}-20"
        program = torch.onnx.export(net, (torch.tensor(x),), dynamo=True, opset_version=20, optimize=name != "norms", verbose=False)
        program.save(f"{HERE}/{file}.onnx", external_data=name == "mean")
        strip(f"{HERE}/{file}.onnx")
        write(file, f"{HERE}/{file}.onnx", expected, x, y)
    for name, shape, nodes, floats, whole, image, logits in assembled():
        tensors = [stored(key, value) for key, value in floats.items()]
        tensors += [numpy_helper.from_array(numpy.asarray(value, numpy.int64), key) for key, value in whole.items()]
        graph = helper.make_graph(nodes, name, [image], [logits], tensors)
        x = images((COUNT, *shape))
        if name == "channels-last":
            x = x.transpose(0, 2, 3, 1)
        for opset in [13, 17, 20]:
            file = f"{name}-{opset}"
            model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
            onnx.save(model, f"{HERE}/{file}.onnx")
            write(file, f"{HERE}/{file}.onnx", expected, x)
    with open(f"{HERE}/expected.json", "w") as out:
        json.dump(expected, out, indent=0)
    print(len(expected), "files")


def strip(path):
    """Takes out traces of the machine that the present exporter leaves in every node."""
    model = onnx.load(path, load_external_data=False)
    for part in [model, model.graph, *model.graph.node, *model.graph.input, *model.graph.value_info, *model.graph.output, *model.graph.initializer]:
        if hasattr(part, "metadata_props"):
            del part.metadata_props[:]
        part.doc_string = ""
    del model.graph.value_info[:]
    onnx.save(model, path)


if __name__ == "__main__":
    main()
