"""Writes what tests/golden.rs and tests/golden_network.rs expect, computed by PyTorch: pytorch.safetensors,
pools.safetensors, optimizers.safetensors, losses.safetensors, layers.safetensors, network.safetensors,
normalised_network.safetensors, gathered_network.safetensors and, for the tests of their names, batch_norm.safetensors,
whitening.safetensors, explained.safetensors and autocast.safetensors.

    python -m venv venv && venv/bin/pip install torch numpy safetensors
    venv/bin/python tests/golden/make.py

The files in the repository were made with torch 2.15.0, on a CPU; their metadata names the version too, and
describes the cases as JSON. The tensors that PyTorch was given are stored as float32 or integers, its results as
float64. Tensors are called KIND/CASE/NAME and have PyTorch's layouts.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

FOLDER = Path(__file__).parent
tensors = {}
cases = {}


def add(kind, name, settings, given, computed):
    """Adds a case: its settings, the tensors that PyTorch was given and those that it computed."""
    cases.setdefault(kind, []).append({"name": name, **settings})
    for word, tensor in given.items():
        stored = tensor if tensor.dtype == torch.int64 else tensor.float()
        assert torch.equal(stored.to(tensor.dtype), tensor), f"{kind}/{name}/{word}: not float32"
        tensors[f"{kind}/{name}/{word}"] = stored.detach().contiguous()
    for word, tensor in computed.items():
        tensors[f"{kind}/{name}/{word}"] = tensor.detach().double().contiguous()


def uniform(*shape):
    """Multiples of 2^-23 from -1 to 1: sums of their products are exact in float64, in any order."""
    return (torch.rand(*shape) * 2 - 1).double()


def rounded(value):
    """A Python float that float32 can hold."""
    return torch.tensor(value, dtype=torch.float32).item()


def differentiated(function, given):
    """The output of `function`, and with a random grad_output the gradient of each tensor given."""
    given = {word: tensor.requires_grad_() for word, tensor in given.items()}
    output = function(**given)
    grad_output = uniform(*output.shape)
    grads = torch.autograd.grad(output, given.values(), grad_output)
    computed = {f"grad_{word}": grad for word, grad in zip(given, grads)}
    return {**given, "grad_output": grad_output}, {"output": output, **computed}


def padded(input, padding, value=0.0):
    """`input` with rows and columns added at the top, bottom, left and right."""
    top, bottom, left, right = padding
    return F.pad(input, (left, right, top, bottom), value=value)


def conv(name, input, out_channels, kernel_size, stride=(1, 1), dilation=(1, 1), groups=1, padding=(0, 0, 0, 0)):
    """A convolution; padding None is PyTorch's padding="same"."""

    def function(input, filters, bias):
        options = {"stride": stride, "dilation": dilation, "groups": groups}
        if padding is None:
            return F.conv2d(input, filters, bias, padding="same", **options)
        return F.conv2d(padded(input, padding), filters, bias, **options)

    filters = uniform(out_channels, input[1] // groups, *kernel_size)
    given = {"input": uniform(*input), "filters": filters, "bias": uniform(out_channels)}
    window = {"kernel_size": kernel_size, "stride": stride, "dilation": dilation, "padding": padding}
    add("conv", name, {**window, "groups": groups}, *differentiated(function, given))


def convolutions():
    conv("plain", (2, 3, 6, 5), 4, (3, 3))
    conv("stride drops the tail", (2, 3, 8, 9), 4, (3, 3), stride=(2, 3))
    conv("even filter, same", (1, 2, 6, 7), 3, (4, 2), padding=None)
    conv("even filter, same, dilation", (1, 2, 7, 6), 3, (2, 4), dilation=(3, 1), padding=None)
    conv("not square", (2, 2, 5, 8), 3, (2, 5), stride=(1, 2), padding=(0, 0, 2, 2))
    conv("padding beyond the reach", (1, 2, 3, 3), 2, (2, 3), padding=(4, 3, 5, 4))
    conv("four different sides", (2, 3, 5, 6), 4, (3, 3), stride=(2, 1), padding=(0, 2, 3, 1))
    conv("dilation", (1, 2, 9, 8), 3, (3, 3), dilation=(2, 3), padding=(2, 2, 2, 2))
    conv("dilation and stride", (1, 2, 11, 9), 3, (3, 2), stride=(2, 3), dilation=(3, 2), padding=(1, 1, 1, 1))
    conv("groups", (2, 4, 5, 5), 6, (3, 3), groups=2, padding=(1, 1, 1, 1))
    conv("groups and dilation", (1, 6, 7, 8), 9, (3, 3), stride=(1, 2), dilation=(2, 2), groups=3, padding=(2, 2, 2, 2))
    conv("depthwise with stride", (2, 5, 8, 7), 5, (3, 3), stride=(2, 2), groups=5, padding=(1, 1, 1, 1))
    conv("depthwise, two filters a channel", (1, 3, 6, 6), 6, (5, 5), groups=3, padding=(2, 2, 2, 2))
    conv("1x1", (2, 6, 3, 4), 5, (1, 1))
    conv("1x1 with stride", (2, 4, 5, 6), 3, (1, 1), stride=(2, 2))
    conv("1x1 with padding", (1, 3, 3, 4), 4, (1, 1), padding=(2, 2, 2, 2))
    conv("filter as large as the input", (3, 2, 5, 4), 4, (5, 4))
    conv("stride beyond the filter", (2, 2, 9, 10), 3, (2, 2), stride=(4, 3))
    conv("one dimension", (2, 3, 1, 20), 4, (1, 7), stride=(1, 2), padding=(0, 0, 3, 3))
    conv("28x27, stride 2", (1, 2, 28, 27), 3, (3, 3), stride=(2, 2), padding=(1, 1, 1, 1))
    conv("one value", (1, 1, 1, 1), 1, (1, 1))


def pool(name, kind, input, kernel_size, stride, padding=(0, 0, 0, 0), dilation=(1, 1)):
    """A pool; whole numbers as the input make ties, and the average's padding counts as zeros."""

    def function(input):
        if kind == "max":
            return F.max_pool2d(padded(input, padding, float("-inf")), kernel_size, stride, dilation=dilation)
        return F.avg_pool2d(padded(input, padding), kernel_size, stride)

    input = uniform(*input) if "ties" not in name else torch.randint(-1, 2, input).double()
    window = {"kernel_size": kernel_size, "stride": stride, "dilation": dilation, "padding": padding}
    add("pool", f"{kind}, {name}", {**window, "kind": kind}, *differentiated(function, {"input": input}))


def edge_pool(name, kind, input, kernel_size, stride, padding=(0, 0), dilation=(1, 1), ceil_mode=False, counts=True):
    """A pool with PyTorch's own padding, and what it makes of the edge."""

    def function(input):
        if kind == "max":
            return F.max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode)
        return F.avg_pool2d(input, kernel_size, stride, padding, ceil_mode, counts)

    rows, columns = padding
    window = {"kernel_size": kernel_size, "stride": stride, "dilation": dilation}
    settings = {**window, "padding": (rows, rows, columns, columns), "kind": kind}
    settings |= {"ceil_mode": ceil_mode, "count_include_pad": counts}
    name = f"{kind}{', ceil mode' * ceil_mode}{', padding left out' * (not counts)}, {name}"
    add("edge_pool", name, settings, *differentiated(function, {"input": uniform(*input)}))


def edge_pools():
    for kind, ceil_mode, counts in (
        ("max", True, True),
        ("average", True, True),
        ("average", True, False),
        ("average", False, False),
    ):
        edge = {"kind": kind, "ceil_mode": ceil_mode, "counts": counts}
        edge_pool("touching, a tail", input=(2, 3, 7, 9), kernel_size=(2, 2), stride=(2, 2), **edge)
        edge_pool("overlapping, padded", input=(2, 2, 6, 7), kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), **edge)
        edge_pool("not square", input=(1, 3, 8, 6), kernel_size=(4, 3), stride=(3, 2), padding=(2, 1), **edge)
        edge_pool("a window behind the input", input=(1, 2, 6, 7), kernel_size=(2, 2), stride=(3, 4), padding=(1, 1), **edge)
        edge_pool("stride beyond the window", input=(2, 2, 9, 8), kernel_size=(2, 1), stride=(4, 3), **edge)
        edge_pool("one value", input=(1, 1, 1, 1), kernel_size=(3, 2), stride=(3, 2), padding=(1, 1), **edge)
        if ceil_mode:
            edge_pool("larger than the input", input=(2, 2, 3, 4), kernel_size=(4, 6), stride=(2, 3), **edge)
    dilated = {"kind": "max", "dilation": (2, 3), "ceil_mode": True}
    edge_pool("dilation", input=(2, 2, 9, 10), kernel_size=(3, 2), stride=(4, 3), padding=(1, 1), **dilated)


def pools():
    for kind in ("max", "average"):
        pool("touching", kind, (2, 3, 6, 4), (2, 2), (2, 2))
        pool("overlapping", kind, (2, 2, 7, 6), (3, 3), (2, 2))
        pool("overlapping, padded", kind, (2, 2, 6, 7), (3, 3), (1, 2), padding=(1, 1, 1, 1))
        pool("four different sides", kind, (1, 3, 5, 6), (3, 2), (2, 1), padding=(0, 2, 1, 0))
        pool("stride beyond the window", kind, (2, 2, 8, 9), (2, 2), (3, 4))
        pool("stride drops the tail", kind, (2, 2, 7, 8), (2, 3), (2, 3))
        pool("whole image", kind, (2, 3, 4, 5), (4, 5), (1, 1))
    pool("ties", "max", (2, 2, 7, 7), (3, 3), (2, 2), padding=(1, 1, 1, 1))
    pool("dilation", "max", (2, 2, 8, 9), (2, 3), (1, 2), dilation=(3, 2))
    pool("dilation, padded", "max", (1, 2, 6, 6), (3, 3), (1, 1), padding=(2, 2, 2, 2), dilation=(2, 2))


def activation(name, function, parameter=None):
    far = torch.tensor([10.0, 20.0, 50.0, 90.0, 200.0, 1e3, 1e4])
    points = torch.cat([-far, torch.linspace(-6, 6, 49), uniform(8).float(), far]).double()
    add("activation", name, {"parameter": parameter}, *differentiated(function, {"input": points}))


def activations():
    slope, alpha = rounded(0.01), 1.5
    activation("relu", F.relu)
    activation("leaky_relu", lambda input: F.leaky_relu(input, slope), slope)
    activation("elu", lambda input: F.elu(input, alpha), alpha)
    activation("sigmoid", torch.sigmoid)
    activation("tanh", torch.tanh)
    activation("gelu", F.gelu)
    activation("silu", F.silu)


def cross_entropy(name, logits):
    logits = logits.float().double()
    targets = torch.randint(0, logits.shape[1], logits.shape[:1])
    # Some rows are classified correctly.
    targets[::3] = logits.argmax(1)[::3]
    logits.requires_grad_()
    loss = F.cross_entropy(logits, targets)
    (grad_logits,) = torch.autograd.grad(loss, logits)
    correct = (logits.argmax(1) == targets).sum()
    given = {"logits": logits, "targets": targets, "step": torch.zeros(1, dtype=torch.int64)}
    computed = {"loss": loss.reshape(1), "correct": correct.reshape(1), "grad_logits": grad_logits}
    add("cross_entropy", name, {}, given, computed)


def cross_entropies():
    cross_entropy("small logits", uniform(9, 10))
    cross_entropy("two classes", 5 * uniform(7, 2))
    cross_entropy("large logits", 1000 * uniform(8, 5))
    cross_entropy("logits far from zero", 5 * uniform(6, 4) + 3e4)
    cross_entropy("one row, many classes", 3 * uniform(1, 101))


def shared_cross_entropy(name, logits, smoothing=0.0, weights=None, padded=0):
    """Smoothed labels, class weights, and rows without a label at the end. PyTorch does not count those; without class
    weights wgconv divides by all rows."""
    logits, smoothing = logits.float().double(), rounded(smoothing)
    rows, classes = logits.shape
    targets = torch.randint(0, classes, (rows,))
    targets[::3] = logits.argmax(1)[::3]
    logits.requires_grad_()
    given = {"logits": logits, "targets": targets.clone(), "step": torch.zeros(1, dtype=torch.int64)}
    if weights is not None:
        weights = given["class_weights"] = weights.float().double()
    if padded:
        targets[-padded:] = -100
        given["targets"][-padded:] = 2**32 - 1
    loss = F.cross_entropy(logits, targets, weight=weights, label_smoothing=smoothing)
    if weights is None:
        loss = loss * ((rows - padded) / rows)
    (grad_logits,) = torch.autograd.grad(loss, logits)
    correct = (logits.argmax(1) == targets).sum()
    computed = {"loss": loss.reshape(1), "correct": correct.reshape(1), "grad_logits": grad_logits}
    add("shared_cross_entropy", name, {"smoothing": smoothing}, given, computed)


def shared_cross_entropies():
    positive = lambda classes: 2 * torch.rand(classes) + 0.1
    some = positive(6)
    some[[1, 4]] = 0
    shared_cross_entropy("smoothing", 3 * uniform(9, 10), smoothing=0.1)
    shared_cross_entropy("smoothing, rows without label", 3 * uniform(9, 10), smoothing=0.3, padded=4)
    shared_cross_entropy("smoothing, large logits", 1000 * uniform(8, 5), smoothing=0.1)
    shared_cross_entropy("smoothing, many classes", 5 * uniform(2, 101), smoothing=0.9)
    shared_cross_entropy("class weights", 3 * uniform(12, 10), weights=positive(10))
    shared_cross_entropy("class weights, rows without label", 3 * uniform(12, 4), weights=positive(4), padded=5)
    shared_cross_entropy("class weights, two classes of weight 0", 3 * uniform(16, 6), weights=some)
    shared_cross_entropy("both", 3 * uniform(12, 10), smoothing=0.1, weights=positive(10))
    shared_cross_entropy("both, rows without label", 3 * uniform(12, 7), smoothing=0.2, weights=positive(7), padded=3)
    shared_cross_entropy("both, two classes of weight 0", 3 * uniform(16, 6), smoothing=0.2, weights=some)
    shared_cross_entropy("both, many classes", 5 * uniform(3, 101), smoothing=0.1, weights=positive(101))


def linear(name, batch_size, in_features, out_features):
    given = {
        "input": uniform(batch_size, in_features),
        "weight": uniform(out_features, in_features),
        "bias": uniform(out_features),
    }
    add("dense", name, {}, *differentiated(lambda input, weight, bias: F.linear(input, weight, bias), given))


def linears():
    linear("one row", 1, 7, 5)
    linear("ragged", 5, 33, 17)
    linear("one output", 6, 9, 1)


def sgd(name, momentum=0.0, nesterov=False, weight_decay=0.0, steps=5, elements=6):
    options = {"momentum": rounded(momentum), "nesterov": nesterov, "weight_decay": rounded(weight_decay)}
    start, gradients = uniform(elements), uniform(steps, elements)
    learning_rate = torch.linspace(0.1, 0.02, steps).double()
    parameter = nn.Parameter(start.clone())
    optimizer = torch.optim.SGD([parameter], **options)
    after = []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = learning_rate[step].item()
        parameter.grad = gradients[step].clone()
        optimizer.step()
        after.append(parameter.detach().clone())
    given = {"parameter": start, "gradients": gradients, "learning_rate": learning_rate, "loss": torch.zeros(steps)}
    add("sgd", name, options, given, {"parameter_after": torch.stack(after)})


def descents():
    sgd("plain")
    sgd("weight decay", weight_decay=0.01)
    sgd("momentum", momentum=0.9)
    sgd("momentum and weight decay", momentum=0.9, weight_decay=0.01)
    sgd("nesterov and weight decay", momentum=0.9, nesterov=True, weight_decay=0.01)


class Lion(torch.optim.Optimizer):
    """Algorithm 2 of "Symbolic discovery of optimization algorithms": torch.optim has none."""

    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            (beta1, beta2), rate, decay = group["betas"], group["lr"], group["weight_decay"]
            for parameter in group["params"]:
                moment = self.state[parameter].setdefault("moment", torch.zeros_like(parameter))
                update = torch.sign(beta1 * moment + (1 - beta1) * parameter.grad)
                parameter -= rate * (update + decay * parameter)
                moment.copy_(beta2 * moment + (1 - beta2) * parameter.grad)


OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "lion": Lion,
    "adagrad": torch.optim.Adagrad,
}


def optimizer(name, kind, decays=(0.0, 0.0), bias_factor=1.0, clip_norm=None, size=1.0, cycle=False, **options):
    """50 steps with a changing learning rate: weights and biases in groups with their own weight decay, biases with a
    learning rate of their own. With cycle, the momentum changes from step to step."""
    steps, decays = 50, [rounded(decay) for decay in decays]
    start = {"weight": uniform(7), "bias": uniform(3)}
    gradients = {word: size * uniform(steps, len(values)) for word, values in start.items()}
    # A weight that never gets a gradient, and one whose gradients are tiny.
    gradients["weight"][:, 0] = 0
    gradients["weight"][:, 1] *= 2.0**-30
    learning_rate = (0.05 * (1 + torch.cos(torch.arange(steps) * 0.11)) / 2 + 0.001).float().double()
    momenta = torch.linspace(0.95, 0.85, steps).double()
    parameters = {word: nn.Parameter(values.clone()) for word, values in start.items()}
    groups = [
        {"params": [parameter], "weight_decay": decay} for parameter, decay in zip(parameters.values(), decays)
    ]
    spelled = {{"epsilon": "eps"}.get(word, word): value for word, value in options.items()}
    torchs = OPTIMIZERS[kind](groups, lr=1.0, **spelled)
    after = {word: [] for word in start}
    for step in range(steps):
        rate = learning_rate[step].item()
        for group, factor in zip(torchs.param_groups, (1.0, bias_factor)):
            group["lr"] = factor * rate
            if cycle and "betas" in group:
                group["betas"] = (momenta[step].item(), group["betas"][1])
            elif cycle:
                group["momentum"] = momenta[step].item()
        for word, parameter in parameters.items():
            parameter.grad = gradients[word][step].clone()
        if clip_norm is not None:
            nn.utils.clip_grad_norm_(parameters.values(), clip_norm)
        torchs.step()
        for word, parameter in parameters.items():
            after[word].append(parameter.detach().clone())
    settings = {"optimizer": {"name": kind, **options}, "decays": decays, "bias_factor": bias_factor}
    given = {**start, **{f"{word}_gradients": values for word, values in gradients.items()}}
    given["learning_rate"] = learning_rate
    if cycle:
        given["momentum"] = momenta
    computed = {f"{word}_after": torch.stack(values) for word, values in after.items()}
    add("optimizer", name, {**settings, "clip_norm": clip_norm}, given, computed)


def optimizers():
    groups = {"decays": (0.01, 0.0), "bias_factor": 2.0}
    optimizer("sgd, plain", "sgd")
    optimizer("sgd, coupled decay", "sgd", **groups)
    optimizer("sgd, momentum", "sgd", momentum=0.9)
    optimizer("sgd, momentum and clipping", "sgd", momentum=0.9, clip_norm=0.5, **groups)
    optimizer("sgd, nesterov and coupled decay", "sgd", momentum=0.9, nesterov=True, decays=(0.01, 0.01))
    optimizer("sgd, changing momentum", "sgd", momentum=0.9, cycle=True)
    optimizer("adam", "adam")
    optimizer("adam, coupled decay", "adam", **groups)
    optimizer("adam, clipping", "adam", clip_norm=0.5, betas=(0.8, 0.95), epsilon=1e-4)
    optimizer("adam, small gradients", "adam", size=2.0**-20, decays=(0.0, 0.1))
    optimizer("adam, changing momentum", "adam", cycle=True)
    optimizer("adamw, decoupled decay", "adamw", decays=(0.1, 0.1))
    optimizer("adamw, groups and clipping", "adamw", **groups, clip_norm=1.0)
    optimizer("rmsprop", "rmsprop")
    optimizer("rmsprop, coupled decay", "rmsprop", **groups, alpha=0.9)
    optimizer("rmsprop, momentum and clipping", "rmsprop", momentum=0.9, clip_norm=0.5)
    optimizer("lion", "lion")
    optimizer("lion, decoupled decay and clipping", "lion", decays=(0.1, 0.05), clip_norm=0.5)
    optimizer("adagrad", "adagrad")
    optimizer("adagrad, coupled decay and clipping", "adagrad", **groups, clip_norm=0.5)


def batch_norm(name, input, momentum=0.1, eps=1e-5, affine=True, scale=True, offset=0.0, steps=3):
    """Some training steps of a normalisation, and then its evaluation of the last batch; `steps` batches lie one after
    another along the first axis. With offset, means are far from zero."""
    sizes = {1: nn.BatchNorm1d, 3: nn.BatchNorm2d}
    options = {"eps": rounded(eps), "momentum": rounded(momentum), "affine": affine}
    norm = sizes[len(input) - 1](input[1], **options).double()
    channels = (input[1],)
    # Rounded to float32, however far from zero.
    batches = [(uniform(*input) + offset).float().double() for _ in range(steps)]
    given = {"input": torch.cat(batches), "grad_output": uniform(steps * input[0], *input[1:])}
    running = {"running_mean": uniform(*channels), "running_var": uniform(*channels).abs() + 0.5}
    learnt = {"weight": uniform(*channels) if scale else torch.ones(channels), "bias": uniform(*channels)}
    state = {**running, **(learnt if affine else {})}
    given |= {word: values.float().double() for word, values in state.items()}
    norm.load_state_dict({word: given[word] for word in state}, strict=False)
    after = {word: [] for word in ("output", "grad_input", "grad_weight", "grad_bias", *running)}
    for batch, grad_output in zip(batches, given["grad_output"].split(input[0])):
        norm.zero_grad()
        batch.requires_grad_()
        output = norm(batch)
        output.backward(grad_output)
        after["output"].append(output.detach())
        after["grad_input"].append(batch.grad)
        for word, parameter in norm.named_parameters():
            after[f"grad_{word}"].append(parameter.grad.clone())
        for word in running:
            after[word].append(getattr(norm, word).clone())
    norm.eval()
    join = lambda word: torch.cat if word in ("output", "grad_input") else torch.stack
    computed = {word: join(word)(values) for word, values in after.items() if values}
    computed |= {f"{word}_after": computed.pop(word) for word in running}
    computed["evaluated"] = norm(batches[-1])
    settings = {**options, "scale": scale, "steps": steps}
    add("batch_norm", name, settings, given, computed)


def batch_norms():
    batch_norm("maps", (3, 5, 4, 3))
    batch_norm("flat features", (6, 7))
    batch_norm("two rows", (2, 3))
    batch_norm("one channel", (2, 1, 3, 5), momentum=0.5, eps=1e-3)
    batch_norm("not affine", (2, 4, 3, 3), affine=False)
    batch_norm("shift alone", (2, 4, 3, 3), scale=False)
    batch_norm("the last batch alone", (4, 3), momentum=1.0)
    batch_norm("many rows", (4, 2, 15, 14), steps=2)
    batch_norm("means far from zero", (4, 2, 15, 14), offset=1000.0, steps=2)


def prelu(name, *input):
    """Slopes that are learnt, one of them negative; some inputs are zero."""
    given = {"input": uniform(*input), "weight": uniform(input[1])}
    given["weight"][0] = -0.25
    given["input"].view(-1)[::5] = 0
    add("prelu", name, {}, *differentiated(F.prelu, given))


def global_pool(name, kind, *input):
    """One value for each channel; whole numbers as the input make ties."""
    function = F.adaptive_avg_pool2d if kind == "average" else F.adaptive_max_pool2d
    values = uniform(*input) if "ties" not in name else torch.randint(-1, 2, input).double()
    settings = {"kind": kind}
    add("global_pool", name, settings, *differentiated(lambda input: function(input, 1).flatten(1), {"input": values}))


def concatenate(name, sizes):
    """Three tensors side by side."""
    given = {word: uniform(*size) for word, size in zip("abc", sizes)}
    add("concatenate", name, {}, *differentiated(lambda a, b, c: torch.cat([a, b, c], 1), given))


def multiply(name, *input):
    """Channels times factors of their own for each image. The gradient of the input is a product of the same kind."""

    def function(input, factors):
        return input * factors.reshape(*factors.shape, *[1] * (input.dim() - 2))

    given = {"input": uniform(*input), "factors": uniform(*input[:2])}
    given, computed = differentiated(function, given)
    assert torch.equal(computed.pop("grad_input"), function(given["grad_output"], given["factors"]))
    add("multiply", name, {}, given, computed)


def group_norm(name, *input, groups=None, affine=True, eps=1e-5, offset=0.0):
    """A normalisation of groups of channels; without groups, a LayerNorm of the channels, which PyTorch has last."""
    eps = rounded(eps)

    def function(input, weight=None, bias=None):
        if groups is not None:
            return F.group_norm(input, groups, weight, bias, eps)
        last = input.movedim(1, -1)
        return F.layer_norm(last, last.shape[-1:], weight, bias, eps).movedim(-1, 1)

    given = {"input": (uniform(*input) + offset).float().double()}
    if affine:
        given |= {"weight": uniform(input[1]), "bias": uniform(input[1])}
    add("group_norm", name, {"groups": groups, "eps": eps}, *differentiated(function, given))


def group_norms():
    group_norm("groups", 3, 6, 4, 5, groups=2)
    group_norm("a channel a group", 2, 4, 5, 3, groups=4, eps=1e-3)
    group_norm("one group, not affine", 2, 3, 4, 4, groups=1, affine=False)
    group_norm("groups, means far from zero", 2, 4, 15, 14, groups=2, offset=1000.0)
    group_norm("channels of each pixel", 2, 7, 4, 3)
    group_norm("flat features", 5, 9)
    group_norm("flat features in groups, not affine", 5, 8, groups=2, affine=False)


def layers():
    activation("hard_swish", F.hardswish)
    factor = rounded(-1 / 9)
    activation("scale", lambda input: factor * input, factor)
    global_pool("average", "average", 2, 3, 7, 5)
    global_pool("average of a pixel", "average", 2, 3, 1, 1)
    global_pool("max", "max", 2, 3, 7, 5)
    global_pool("max, ties", "max", 2, 3, 8, 9)
    concatenate("maps", [(2, 3, 4, 5), (2, 1, 4, 5), (2, 5, 4, 5)])
    concatenate("flat features", [(3, 4), (3, 2), (3, 1)])
    multiply("maps", 3, 4, 5, 6)
    multiply("flat features", 5, 7)
    group_norms()
    prelu("maps", 2, 3, 5, 4)
    prelu("flat features", 6, 7)
    prelu("one channel", 3, 1, 4, 4)


class LeNet(nn.Module):
    """A small LeNet for images of 2x12x10."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 5, padding="same")
        self.conv2 = nn.Conv2d(4, 6, 5, padding="same")
        self.dense1 = nn.Linear(6 * 3 * 2, 16)
        self.dense2 = nn.Linear(16, 10)

    def forward(self, input):
        x = F.max_pool2d(F.relu(self.conv1(input)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.dense2(F.relu(self.dense1(x.flatten(1))))


class Normalised(nn.Module):
    """The same with normalisations of maps and of flat features."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding="same", bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 6, 3, padding="same")
        self.bn2 = nn.BatchNorm2d(6, eps=rounded(1e-3), momentum=rounded(0.3))
        self.dense1 = nn.Linear(6 * 6 * 5, 12, bias=False)
        self.bn3 = nn.BatchNorm1d(12, affine=False)
        self.dense2 = nn.Linear(12, 10)
        for norm in (self.bn1, self.bn2, self.bn3):
            norm.eps, norm.momentum = rounded(norm.eps), rounded(norm.momentum)

    def forward(self, input):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(input))), 2)
        x = F.relu(self.bn2(self.conv2(x)))
        return self.dense2(F.relu(self.bn3(self.dense1(x.flatten(1)))))


class Gathered(nn.Module):
    """A small network with the other layers that have parameters or several inputs."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.gn1 = nn.GroupNorm(2, 4, eps=rounded(1e-5))
        self.prelu1 = nn.PReLU(4)
        self.conv2 = nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=4)
        self.squeeze_excite1 = nn.ModuleDict({"dense1": nn.Linear(8, 3), "dense2": nn.Linear(3, 8)})
        self.ln1 = nn.LayerNorm(16, eps=rounded(1e-5))
        self.dense1 = nn.Linear(16, 10)

    def forward(self, input):
        x = F.hardswish(self.conv2(self.prelu1(self.gn1(self.conv1(input)))))
        gate = F.relu(self.squeeze_excite1["dense1"](x.mean((2, 3))))
        x = x * torch.sigmoid(self.squeeze_excite1["dense2"](gate))[:, :, None, None]
        pools = [F.adaptive_avg_pool2d(x, 1), F.adaptive_max_pool2d(x, 1)]
        return 0.5 * self.dense1(self.ln1(torch.cat(pools, 1).flatten(1)))


def whitening(name, images, height, width, eps=5e-4):
    """Filters that decorrelate patches, as KellerJordan/cifar10-airbench computes them; the largest value of a filter is
    positive, and the negatives of all follow."""
    patches = images.unfold(2, height, 1).unfold(3, width, 1).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(0, 2)
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    filters = (vectors / (values + rounded(eps)).sqrt()).T.flip(0)
    largest = filters.gather(1, filters.abs().argmax(1, keepdim=True))
    filters = (filters * largest.sign()).reshape(-1, images.shape[1], height, width)
    computed = {"weight": torch.cat([filters, -filters])}
    add("whitening", name, {"eps": rounded(eps)}, {"images": images}, computed)


def whitenings():
    whitening("square", uniform(6, 3, 5, 7), 2, 2)
    whitening("flat", uniform(9, 2, 4, 6), 1, 3, eps=0.1)
    # Neighbours are alike, as in photographs: values of many sizes.
    smooth = F.avg_pool2d(uniform(130, 2, 6, 6), 3, 1)
    whitening("smooth", (smooth * 2**20).round() / 2**20, 3, 2)
    whitening("one value", uniform(3, 1, 2, 2), 1, 1)


def network(model, steps=5, batch_size=8):
    """Trains a network for a few steps: initial weights, data, losses and final weights."""
    # The deviations are powers of two, so that scale and shift are exact in float32.
    settings = {
        "batch_size": batch_size,
        "mean": [33.0, 128.0],
        "deviation": [64.0, 32.0],
        "learning_rate": rounded(0.05),
        "momentum": rounded(0.9),
    }
    images = torch.randint(0, 256, (steps * batch_size, 2, 12, 10), dtype=torch.uint8)
    labels = torch.randint(0, 10, (steps * batch_size,))
    order = torch.randperm(steps * batch_size)
    model = model()
    state = lambda: {name: value.clone() for name, value in model.state_dict().items() if value.is_floating_point()}
    stored = {"images": images, "labels": labels, "order": order}
    stored |= {f"initial/{name}": value for name, value in state().items()}
    model.double()
    mean, deviation = (torch.tensor(settings[word]).double().reshape(1, -1, 1, 1) for word in ("mean", "deviation"))
    optimizer = torch.optim.SGD(model.parameters(), lr=settings["learning_rate"], momentum=settings["momentum"])
    losses = []
    for rows in order.split(batch_size):
        loss = F.cross_entropy(model((images[rows].double() - mean) / deviation), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    stored["losses"] = torch.stack(losses)
    stored |= {f"final/{name}": value for name, value in state().items()}
    print("losses", [loss.item() for loss in losses])
    return stored, settings


def autocast(name, model):
    """The losses of a stored training as PyTorch's mixed precision has them: products in float16, in float32 what would lose
    too much, and a gradient scaler."""
    stored = load_file(FOLDER / f"{name}.safetensors")
    with safe_open(FOLDER / f"{name}.safetensors", "pt") as file:
        settings = json.loads(file.metadata()["description"])
    model = model().float()
    model.load_state_dict({key.removeprefix("initial/"): value for key, value in stored.items() if key.startswith("initial/")}, strict=False)
    mean, deviation = (torch.tensor(settings[word]).reshape(1, -1, 1, 1) for word in ("mean", "deviation"))
    optimizer = torch.optim.SGD(model.parameters(), lr=settings["learning_rate"], momentum=settings["momentum"])
    scaler = torch.amp.GradScaler("cpu")
    losses = []
    for rows in stored["order"].split(settings["batch_size"]):
        with torch.autocast("cpu", torch.float16):
            loss = F.cross_entropy(model((stored["images"][rows] - mean) / deviation), stored["labels"][rows])
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.detach())
    print(name, "in mixed precision", [loss.item() for loss in losses], scaler.get_scale())
    return torch.stack(losses).double()


def explained(model, images=6):
    """What speaks for the predicted class: Grad-CAM at the last convolution, by the formula of its paper, and the gradient at
    the pixels as the network sees them; and the maps and sums on the way. In evaluation mode."""
    settings = {"mean": [33.0, 128.0], "deviation": [64.0, 32.0]}
    pixels = torch.randint(0, 256, (images, 2, 12, 10), dtype=torch.uint8)
    labels = torch.randint(0, 10, (images,))
    model = model()
    for name, value in model.state_dict().items():
        if value.is_floating_point() and value.dim() == 1:
            value.copy_(uniform(*value.shape).abs() + 0.5 if "var" in name or "weight" in name else uniform(*value.shape))
    state = {name: value.clone() for name, value in model.state_dict().items() if value.is_floating_point()}
    stored = {"images": pixels, "labels": labels} | {f"weights/{name}": value for name, value in state.items()}
    model.double().eval()
    mean, deviation = (torch.tensor(settings[word]).double().reshape(1, -1, 1, 1) for word in ("mean", "deviation"))
    seen = ((pixels.double() - mean) / deviation).requires_grad_()
    sums = model.conv1(seen)
    first = F.relu(model.bn1(sums))
    last = F.relu(model.bn2(model.conv2(F.max_pool2d(first, 2))))
    last.retain_grad()
    logits = model.dense2(F.relu(model.bn3(model.dense1(last.flatten(1)))))
    assert (logits - model(seen)).abs().max() < 1e-12
    logits.max(1).values.sum().backward()
    weights = last.grad.mean((2, 3), keepdim=True)
    heat = F.relu((weights * last).sum(1))
    computed = {"logits": logits, "sums": sums, "first": first, "last": last, "heat": heat / heat.amax((1, 2), keepdim=True)}
    stored |= {name: value.detach().clone() for name, value in computed.items()} | {"gradient": seen.grad.clone()}
    return stored, settings


def save(name, tensors, description):
    path = FOLDER / name
    # A single entry, since the order of several would differ from run to run.
    save_file(tensors, path, metadata={"description": json.dumps({"torch": torch.__version__, **description})})
    print(f"{path}: {len(tensors)} tensors, {path.stat().st_size} bytes")


if __name__ == "__main__":
    torch.manual_seed(1)
    torch.set_num_threads(1)
    for make in (convolutions, pools, activations, cross_entropies, linears, descents):
        make()
    save("pytorch.safetensors", tensors, cases)
    torch.manual_seed(5)
    tensors, cases = {}, {}
    edge_pools()
    save("pools.safetensors", tensors, cases)
    torch.manual_seed(3)
    tensors, cases = {}, {}
    optimizers()
    save("optimizers.safetensors", tensors, cases)
    torch.manual_seed(4)
    tensors, cases = {}, {}
    shared_cross_entropies()
    save("losses.safetensors", tensors, cases)
    torch.manual_seed(6)
    tensors, cases = {}, {}
    layers()
    save("layers.safetensors", tensors, cases)
    stored, settings = network(Gathered)
    save("gathered_network.safetensors", stored, settings)
    torch.manual_seed(2)
    stored, settings = network(LeNet)
    save("network.safetensors", stored, settings)
    torch.manual_seed(4)
    tensors, cases = {}, {}
    batch_norms()
    save("batch_norm.safetensors", tensors, cases)
    stored, settings = network(Normalised)
    save("normalised_network.safetensors", stored, settings)
    networks = {"network": LeNet, "normalised_network": Normalised, "gathered_network": Gathered}
    save("autocast.safetensors", {name: autocast(name, model) for name, model in networks.items()}, {})
    torch.manual_seed(7)
    tensors, cases = {}, {}
    whitenings()
    save("whitening.safetensors", tensors, cases)
    torch.manual_seed(8)
    stored, settings = explained(Normalised)
    save("explained.safetensors", stored, settings)
