#!/usr/bin/env python3
"""Times PyTorch on the float training step of vgg16 that `gtc bench train` times, on CUDA.

Prints Markdown: fp32 with TF32 off, then bfloat16 autocast, images per second by batch size.
"""

import time

import torch
from torch import nn

STAGES = [64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0]


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


def images_per_second(device, batch, half):
    net = vgg16().to(device)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    images = torch.randn(batch, 3, 32, 32, device=device)
    labels = torch.randint(0, 10, (batch,), device=device)

    def step():
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            loss = nn.functional.cross_entropy(net(images), labels)
        loss.backward()
        optimiser.step()

    def wait():
        if device.type == "cuda":
            torch.cuda.synchronize()

    for _ in range(5):
        step()
    wait()
    started, steps = time.perf_counter(), 0
    while time.perf_counter() - started < 3:
        for _ in range(5):
            step()
        steps += 5
        wait()
    return batch * steps / (time.perf_counter() - started)


def main():
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


main()
