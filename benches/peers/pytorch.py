#!/usr/bin/env python3
"""Times PyTorch on float training steps of the networks that `gtc bench train` times.

    benches/peers/pytorch.py                      vgg16 on CUDA, or on the CPU: a table in Markdown,
                                                  fp32 with TF32 off and bfloat16 autocast, by batch size
    benches/peers/pytorch.py train NETWORK BATCH  one network on the CPU, a line of JSON for compare.py

Networks: lenet-small, lenet5, vae-mlp, vgg16.
"""

import json
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

STAGES = [64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0]
SECONDS = 3


def lenet(maps, *sizes):
    """Two convolutions of 5x5 with pools, then dense layers."""
    layers, channels = [], 1
    for outputs in maps:
        layers += [nn.Conv2d(channels, outputs, 5), nn.ReLU(), nn.MaxPool2d(2)]
        channels = outputs
    layers.append(nn.Flatten())
    inputs = 16 * channels
    for outputs in sizes:
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        inputs = outputs
    return nn.Sequential(*layers, nn.Linear(inputs, 10))


def vgg16():
    layers, channels = [], 3
    for outputs in STAGES:
        if outputs == 0:
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        channels = outputs
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10))


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 40))
        self.decoder = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784))

    def forward(self, images):
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        latent = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum() / 2
        return self.decoder(latent), divergence


NETWORKS = {
    "lenet-small": lambda: lenet([6, 10], 128, 128),
    "lenet5": lambda: lenet([20, 50], 500),
    "vae-mlp": Autoencoder,
    "vgg16": vgg16,
}


def loss_of(net, images, labels):
    if not isinstance(net, Autoencoder):
        return F.cross_entropy(net(images), labels)
    pixels, divergence = net(images)
    likelihood = F.binary_cross_entropy_with_logits(pixels, images.flatten(1), reduction="sum")
    return (likelihood + divergence) / len(images)


def steps_of(network, device, batch, half):
    """A function that makes one step, and waits for it if it is told to."""
    net = NETWORKS[network]().to(device)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    shape = (3, 32, 32) if network == "vgg16" else (1, 28, 28)
    images = torch.rand(batch, *shape, device=device)
    labels = torch.randint(0, 10, (batch,), device=device)

    def step(wait=True):
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            loss = loss_of(net, images, labels)
        loss.backward()
        optimiser.step()
        if wait and device.type == "cuda":
            torch.cuda.synchronize()

    return step


def images_per_second(device, batch, half):
    step = steps_of("vgg16", device, batch, half)
    for _ in range(5):
        step()
    started, steps = time.perf_counter(), 0
    while time.perf_counter() - started < SECONDS:
        for left in reversed(range(5)):
            step(wait=left == 0)
        steps += 5
    return batch * steps / (time.perf_counter() - started)


def table():
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    print(f"PyTorch {torch.__version__} on {name}, vgg16, a float training step with Adam\n")
    print("| batch | fp32, images/s | bfloat16 autocast, images/s |")
    print("|---|---|---|")
    for batch in [8, 32, 128, 256]:
        rates = [images_per_second(device, batch, half) for half in (False, True)]
        print(f"| {batch} | {rates[0]:.0f} | {rates[1]:.0f} |", flush=True)


def train(network, batch):
    started = time.perf_counter()
    step = steps_of(network, torch.device("cpu"), batch, False)
    step()
    first = time.perf_counter() - started
    for _ in range(3):
        step()
    times, began = [], time.perf_counter()
    while time.perf_counter() - began < SECONDS or len(times) < 5:
        at = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - at))
    row = {"ms": statistics.median(times), "fastest_ms": min(times), "first_step_seconds": first}
    print(json.dumps(row))


def main():
    words = sys.argv[1:]
    if not words:
        table()
    elif len(words) == 3 and words[0] == "train" and words[1] in NETWORKS and words[2].isdigit():
        train(words[1], int(words[2]))
    else:
        sys.exit(__doc__)


main()
