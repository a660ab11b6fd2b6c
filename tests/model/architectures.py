"""Architectures whose units are tied together in every way people build them; shared by tests of units and alignment."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.model.networks import NETWORKS


class Block(nn.Module):
    """A residual block with BatchNorm and a projected or padded shortcut."""

    def __init__(self, ins: int, outs: int, stride: int = 1, padded: bool = False) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(ins, outs, 3, stride, 1, bias=False), nn.BatchNorm2d(outs)
        self.conv2, self.bn2 = nn.Conv2d(outs, outs, 3, 1, 1, bias=False), nn.BatchNorm2d(outs)
        self.padded, self.extra, self.stride = padded, outs - ins, stride
        self.short = nn.Sequential()
        if ins != outs and not padded:
            self.short = nn.Sequential(nn.Conv2d(ins, outs, 1, stride, bias=False), nn.BatchNorm2d(outs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        if self.padded:
            half = self.extra // 2
            x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, self.extra - half))
        return torch.relu(y + self.short(x))


class ResNet(nn.Module):
    """Stem, three residual blocks (two with a change of width), pooled head."""

    def __init__(self, padded: bool = False) -> None:
        super().__init__()
        self.stem, self.bn = nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.one, self.two, self.three = Block(4, 4), Block(4, 6, 2, padded), Block(6, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn(self.stem(x)))
        return self.head(self.three(self.two(self.one(x))).mean((2, 3)))


class SwiGLU(nn.Module):
    """A gated MLP inside a pre-norm residual stream."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Linear(6, 8), nn.RMSNorm(8)
        self.gate, self.up, self.down = nn.Linear(8, 10), nn.Linear(8, 10), nn.Linear(10, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        h = self.norm(x)
        return self.head(x + self.down(functional.silu(self.gate(h)) * self.up(h)))


class Gpt(nn.Module):
    """Two pre-norm causal blocks, head tied to the embedding, attention written out."""

    def __init__(self, width: int = 8, heads: int = 2) -> None:
        super().__init__()
        self.heads, self.width = heads, width
        self.words, self.places = nn.Embedding(7, width), nn.Embedding(5, width)
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "n1": nn.LayerNorm(width), "qkv": nn.Linear(width, 3 * width), "out": nn.Linear(width, width),
                    "n2": nn.LayerNorm(width), "up": nn.Linear(width, 12), "down": nn.Linear(12, width),
                }
            )
            for _ in range(2)
        )  # fmt: skip
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 7, bias=False)
        self.head.weight = self.words.weight
        self.register_buffer("mask", torch.tril(torch.ones(5, 5)).bool())

    def attend(self, block: nn.ModuleDict, x: Tensor) -> Tensor:
        n, t, d = x.shape
        q, k, v = (z.view(n, t, self.heads, d // self.heads).transpose(1, 2) for z in block["qkv"](x).chunk(3, dim=-1))
        scores = q @ k.transpose(-2, -1) / math.sqrt(d // self.heads)
        scores = scores.masked_fill(~self.mask[:t, :t], float("-inf"))
        return block["out"]((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, t, d))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens) + self.places(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = x + self.attend(block, block["n1"](x))
            x = x + block["down"](functional.gelu(block["up"](block["n2"](x))))
        return self.head(self.norm(x))


class CrossAttention(nn.Module):
    """A learned query attends to the input through nn.MultiheadAttention with other key and value widths."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, 3, 8))
        self.attention = nn.MultiheadAttention(8, 2, kdim=4, vdim=4, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        memory = x.reshape(len(x), 3, 4)
        found, _ = self.attention(self.query.expand(len(x), -1, -1), memory, memory)
        return self.head(found.amax(1))


class Vit(nn.Module):
    """Patches, a class token, one encoder layer with the norm first."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.token = nn.Conv2d(1, 8, 4, 4), nn.Parameter(torch.randn(1, 1, 8))
        self.place = nn.Parameter(torch.randn(1, 5, 8))
        self.layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, norm_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), patches], dim=1) + self.place
        return self.head(self.layer(x)[:, 0])


class Dense(nn.Module):
    """Channels concatenated from two layers, as in a DenseNet, then flattened."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
        self.norm, self.head = nn.BatchNorm2d(7), nn.Linear(7 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        a = torch.relu(self.one(x))
        return self.head(torch.flatten(torch.relu(self.norm(torch.cat([a, torch.relu(self.two(a))], 1))), 1))


class Shuffle(nn.Module):
    """Grouped convolutions with a channel shuffle between them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 1)
        self.one, self.two = nn.Conv2d(6, 6, 3, padding=1, groups=2), nn.Conv2d(6, 4, 3, padding=1, groups=2)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.one(torch.relu(self.stem(x))))
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.head(torch.relu(self.two(x)).mean((2, 3)))


class Unet(nn.Module):
    """Down, up by a transposed convolution, skip by concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.low, self.up = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 5, 3, 2, 1), nn.ConvTranspose2d(5, 4, 2, 2)
        self.last = nn.Conv2d(7, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = functional.gelu(self.down(x))
        return self.last(torch.cat([functional.gelu(self.up(functional.gelu(self.low(a)))), a], dim=1))


class Written(nn.Module):
    """Results written into a buffer of zeros, in place, piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Linear(6, 4), nn.Linear(6, 5), nn.Linear(9, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(len(x), 9, dtype=x.dtype)
        h[:, :4] = self.one(x)
        h[:, 4:] = self.two(x).tanh_()
        h += 1
        return self.head(h)


class Bidirectional(nn.Module):
    """Two bidirectional LSTM layers and a GRU."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, num_layers=2, bidirectional=True, batch_first=True)
        self.gru, self.head = nn.GRU(8, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gru(self.lstm(x.reshape(len(x), 4, 3))[0])[0][:, -1])


class Einsum(nn.Module):
    """Attention with one weight tensor per role and einsum, and a plain multi-axis parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Parameter(torch.randn(4, 3, 2)) for _ in range(3))
        self.o, self.head = nn.Parameter(torch.randn(3, 2, 5)), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(len(x), 3, 4)
        q, k, v = (torch.einsum("btd,dhk->bhtk", x, w) for w in (self.q, self.k, self.v))
        mixed = torch.einsum("bhts,bhsk->bhtk", torch.einsum("bhtk,bhsk->bhts", q, k).softmax(-1), v)
        return self.head(torch.einsum("bhtk,hkd->btd", mixed, self.o).relu().sum(1))


def flat_cnn() -> nn.Module:
    """Conv -> Flatten -> Linear."""
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(3, 5, 2), nn.PReLU(5),
        nn.Flatten(), nn.Linear(20, 6), nn.Tanh(), nn.Linear(6, 3),
    )  # fmt: skip


def depthwise() -> nn.Module:
    """An inverted bottleneck with a depthwise convolution and GroupNorm."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 1), nn.BatchNorm2d(6), nn.ReLU6(), nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.ReLU6(),
        nn.Conv2d(6, 8, 1), nn.GroupNorm(2, 8), nn.SiLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 3),
    )  # fmt: skip


def reused() -> nn.Module:
    """One block called twice between two layers."""
    block = nn.Sequential(nn.Linear(7, 7), nn.Tanh())
    return nn.Sequential(nn.Linear(6, 7), nn.Tanh(), block, block, nn.Linear(7, 3))


def weight_normed() -> nn.Module:
    """Weight normalization, GLU, dropout."""
    return nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(6, 8)),
        nn.GLU(),
        nn.Dropout(0.3),
        nn.Linear(4, 5),
        nn.Softplus(),
        nn.Linear(5, 3),
    )


_IMAGE = (1, 8, 8)
#: name -> (constructor, shape of one input, whether inputs are token ids)
ARCHITECTURES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], bool]] = NETWORKS | {
    "resnet": (ResNet, _IMAGE, False),
    "resnet with padded shortcut": (lambda: ResNet(padded=True), _IMAGE, False),
    "swiglu": (SwiGLU, (6,), False),
    "gpt": (Gpt, (5,), True),
    "cross attention": (CrossAttention, (12,), False),
    "vit": (Vit, _IMAGE, False),
    "densenet": (Dense, (1, 4, 4), False),
    "channel shuffle": (Shuffle, (1, 4, 4), False),
    "unet": (Unet, (1, 4, 4), False),
    "written in place": (Written, (6,), False),
    "bidirectional lstm and gru": (Bidirectional, (12,), False),
    "einsum attention": (Einsum, (12,), False),
    "conv flatten linear": (flat_cnn, _IMAGE, False),
    "depthwise": (depthwise, (1, 4, 4), False),
    "reused block": (reused, (6,), False),
    "weight norm": (weight_normed, (6,), False),
}


def make(name: str, samples: int = 5, seed: int = 0) -> tuple[nn.Module, Tensor]:
    """The module in float64 and evaluation mode, with norms away from their defaults, and inputs."""
    constructor, shape, tokens = ARCHITECTURES[name]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = constructor().double().eval()
        for key, tensor in module.state_dict().items():
            if tensor.is_floating_point() and tensor.ndim == 1:
                tensor.copy_(torch.rand_like(tensor) + (0.5 if "running_var" in key else 0.1))
        inputs = torch.randint(0, 5, (samples, *shape)) if tokens else torch.randn(samples, *shape, dtype=torch.float64)
    return module, inputs
