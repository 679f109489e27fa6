"""Attention of this package beside PyTorch's, in one run: for each shape they take turns, and medians are reported.

A time is that of several calls enqueued one after the other, by CUDA events around them, divided by their number, for both.
PyTorch may be absent (a rehearsal without a GPU): then there are no peers, and the result says so.
"""

import argparse
import json
import os
import statistics
import subprocess

try:
    import torch
    import torch.nn.functional as F
    from torch.nn.attention import SDPBackend, sdpa_kernel

    BACKENDS = {
        "flash": SDPBackend.FLASH_ATTENTION,
        "cudnn": SDPBackend.CUDNN_ATTENTION,
        "efficient": SDPBackend.EFFICIENT_ATTENTION,
        "math": SDPBackend.MATH,
    }
except ImportError:
    torch = None
    BACKENDS = {}

TOKENS = 16384
HIDDEN = 2048
ROUNDS = 3
FLOAT8 = "float8_e4m3"
MATH_LIMIT = 4096  # the math back end stores S and P


def shapes(rehearsal):
    """Forward and backward of 16k tokens with hidden size 2048, and decode over long keys."""
    if rehearsal:
        common = {"batch": 1, "heads": 2, "kvHeads": 2, "headDim": 64, "causal": True, "dtype": "float16"}
        for kind in ("forward", "backward"):
            yield {"kind": kind, "seqlenQ": 64, "seqlenK": 64, **common}
        return
    for kind in ("forward", "backward"):
        for dim in (64, 128, 256):
            for causal in (False, True):
                for seqlen in (512, 1024, 2048, 4096, 8192, 16384):
                    heads = HIDDEN // dim
                    yield {
                        "kind": kind, "batch": TOKENS // seqlen, "seqlenQ": seqlen, "seqlenK": seqlen, "heads": heads,
                        "kvHeads": heads, "headDim": dim, "causal": causal, "dtype": "bfloat16",
                    }
    for causal in (False, True):
        for seqlen in (2048, 8192, 16384):
            yield {
                "kind": "forward", "batch": TOKENS // seqlen, "seqlenQ": seqlen, "seqlenK": seqlen, "heads": HIDDEN // 128,
                "kvHeads": HIDDEN // 128, "headDim": 128, "causal": causal, "dtype": FLOAT8,
            }
    for batch, keys in ((1, 65536), (8, 16384), (64, 8192)):
        yield {
            "kind": "forward", "batch": batch, "seqlenQ": 1, "seqlenK": keys, "heads": 32, "kvHeads": 8, "headDim": 128,
            "causal": False, "dtype": "bfloat16",
        }


def flops(shape):
    pairs = shape["batch"] * shape["heads"] * shape["seqlenQ"] * shape["seqlenK"]
    if shape["causal"]:
        pairs /= 2
    return 4 * pairs * shape["headDim"] * (2.5 if shape["kind"] == "backward" else 1)


def kv_bytes(shape):
    return 2 * 2 * shape["batch"] * shape["seqlenK"] * shape["kvHeads"] * shape["headDim"]


class Ours:
    def __init__(self, node, server):
        self.process = subprocess.Popen([node, server], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.about = json.loads(self.process.stdout.readline())

    def measure(self, shape, calls):
        self.process.stdin.write(json.dumps({**shape, "calls": calls}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["milliseconds"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def peer_call(shape, backend):
    """A function that enqueues one call of PyTorch, layout [batch, heads, seqlen, dim]."""
    def make(heads, length, gradient):
        size = (shape["batch"], heads, length, shape["headDim"])
        return torch.randn(size, device="cuda", dtype=getattr(torch, shape["dtype"]), requires_grad=gradient)

    backward = shape["kind"] == "backward"
    q = make(shape["heads"], shape["seqlenQ"], backward)
    k = make(shape["kvHeads"], shape["seqlenK"], backward)
    v = make(shape["kvHeads"], shape["seqlenK"], backward)
    grouped = shape["heads"] != shape["kvHeads"]

    def forward():
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(q, k, v, is_causal=shape["causal"], enable_gqa=grouped)

    if not backward:
        return forward
    out = forward()
    gradient = torch.randn_like(out)
    return lambda: torch.autograd.grad(out, (q, k, v), gradient, retain_graph=True)


def measure_peer(shape, backend, calls):
    call = peer_call(shape, backend)
    call()
    torch.cuda.synchronize()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(calls):
        call()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / calls


def calls_for(milliseconds):
    """Enough to be much longer than waiting for the end takes."""
    return max(3, min(200, int(100 / max(milliseconds, 0.01))))


def measure_shape(ours, shape):
    contestants = {"ours": lambda calls: ours.measure(shape, calls)}
    for name, backend in BACKENDS.items():
        if shape["dtype"] == FLOAT8:
            continue  # PyTorch has none
        if name == "math" and max(shape["seqlenQ"], 1) * shape["seqlenK"] > MATH_LIMIT**2:
            continue
        contestants[name] = lambda calls, backend=backend: measure_peer(shape, backend, calls)
    times, errors = {}, {}
    for name, measure in list(contestants.items()):
        try:
            times[name] = [measure(calls_for(measure(1)))]
        except Exception as error:  # a back end that does not take the shape says so
            errors[name] = str(error).splitlines()[0][:160]
            del contestants[name]
    for _ in range(ROUNDS - 1):
        for name, measure in contestants.items():
            times[name].append(measure(calls_for(times[name][0])))
    return {
        "shape": shape,
        "flops": flops(shape),
        "kvBytes": kv_bytes(shape),
        "milliseconds": {name: statistics.median(each) for name, each in times.items()},
        "all": times,
        "errors": errors,
    }


def table(results):
    names = ["ours", *BACKENDS]
    lines = [
        "| call | dtype | batch | queries | keys | heads | dim | causal | " + " | ".join(names) + " |",
        "|---" * (8 + len(names)) + "|",
    ]
    for result in results:
        shape = result["shape"]
        decode = shape["seqlenQ"] == 1

        def figure(name):
            milliseconds = result["milliseconds"].get(name)
            if milliseconds is None:
                return "-"
            rate = result["kvBytes"] / milliseconds / 1e6 if decode else result["flops"] / milliseconds / 1e9
            return f"{rate:.0f} {'GB/s' if decode else 'TFLOP/s'}"

        heads = f"{shape['heads']}/{shape['kvHeads']}"
        cells = [
            shape["kind"], shape["dtype"], shape["batch"], shape["seqlenQ"], shape["seqlenK"], heads, shape["headDim"],
            shape["causal"],
        ]
        lines.append("| " + " | ".join(map(str, [*cells, *map(figure, names)])) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser()
    for option in ("--node", "--server", "--out"):
        parser.add_argument(option, required=True)
    options = parser.parse_args()
    rehearsal = not os.environ.get("FLASH_ATTENTION_DEVICE", "cuda:0").startswith("cuda")
    if torch is None and not rehearsal:
        raise SystemExit("bench: PyTorch was not found, and without peers there is nothing to compare with")
    ours = Ours(options.node, options.server)
    results = []
    for shape in shapes(rehearsal):
        results.append(measure_shape(ours, shape))
        print(json.dumps({"shape": shape, "milliseconds": results[-1]["milliseconds"], "errors": results[-1]["errors"]}))
    ours.close()
    failed = any("ours" in result["errors"] for result in results)
    report = {"rehearsal": rehearsal, "ours": ours.about, "results": results}
    if torch is not None and not rehearsal:
        report["torch"] = {"version": torch.__version__, "cudnn": torch.backends.cudnn.version()}
        report["device"] = torch.cuda.get_device_name()
    with open(os.path.join(options.out, "bench.json"), "w") as file:
        json.dump(report, file, indent=1)
    if rehearsal:
        print("A rehearsal without a GPU: these times are those of another device and say nothing about one.")
    else:
        with open(os.path.join(options.out, "bench.md"), "w") as file:
            file.write(table(results) + "\n")
        print(table(results))
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
