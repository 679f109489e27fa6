"""Attention of this package beside PyTorch's, in one run: for each shape they take turns, and medians are reported.

A time is that of several calls enqueued one after the other, by CUDA events around them, divided by their number, for both;
as many calls come before, to warm up. What is known is written after each shape, so that a run that is killed leaves the rest.
The card's own limits, a matrix product and a copy, are measured in the same run. PyTorch may be absent (a rehearsal without a GPU): then there are no peers, and the result says so.
"""

import argparse
import json
import os
import select
import statistics
import subprocess
import time

try:
    import torch
    import torch.nn.functional as F
    from torch.nn.attention import SDPBackend, sdpa_kernel

    BACKENDS = {
        "flash (FlashAttention-2)": SDPBackend.FLASH_ATTENTION,
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
ANSWER_SECONDS = 30


def urgency(shape):
    """What has to be known if there is no time for all: 8192 keys with head dim 128, then decode."""
    if shape["seqlenQ"] == 8192 and shape["headDim"] == 128:
        return 0
    return 1 if shape["seqlenQ"] == 1 else 2


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
    """The process that measures this package; another one takes its place when it dies, hangs or has lost the device."""

    def __init__(self, node, server):
        self.command = [node, server]
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.about = self.answer()

    def answer(self):
        if not select.select([self.process.stdout], [], [], ANSWER_SECONDS)[0]:
            raise BrokenPipeError(f"no answer in {ANSWER_SECONDS} s")
        line = self.process.stdout.readline()
        if not line.endswith("\n"):
            raise BrokenPipeError("the process has ended")
        return json.loads(line)

    def measure(self, shape, calls):
        try:
            if self.process is None:
                self.start()
            self.process.stdin.write(json.dumps({**shape, "calls": calls}) + "\n")
            self.process.stdin.flush()
            answer = self.answer()
        except (OSError, ValueError):
            self.stop()
            raise
        if "error" in answer:
            if "cannot be used again" in answer["error"]:
                self.stop()
            raise RuntimeError(answer["error"])
        return answer["milliseconds"]

    def stop(self):
        """Does not wait: a process that the driver holds does not die."""
        if self.process is not None:
            self.process.kill()
            self.process = None


def peer_call(shape):
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
        return F.scaled_dot_product_attention(q, k, v, is_causal=shape["causal"], enable_gqa=grouped)

    if not backward:
        return forward
    out = forward()
    gradient = torch.randn_like(out)
    return lambda: torch.autograd.grad(out, (q, k, v), gradient, retain_graph=True)


def time_on_device(call, calls):
    for _ in range(calls):
        call()
    torch.cuda.synchronize()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(calls):
        call()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / calls


def measure_peer(shape, backend, calls):
    with sdpa_kernel(backend):
        return time_on_device(peer_call(shape), calls)


def measure_ceilings():
    """TFLOP/s of a large matrix product on random data; GB/s of a copy, of bytes read and written."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    source = torch.empty(1 << 30, dtype=torch.int32, device="cuda")
    target = torch.empty_like(source)
    product = statistics.median(time_on_device(lambda: torch.matmul(a, b), 20) for _ in range(ROUNDS))
    copy = statistics.median(time_on_device(lambda: target.copy_(source), 10) for _ in range(ROUNDS))
    return {"matmulTflops": 2 * 8192**3 / product / 1e9, "copyGBps": 2 * source.nbytes / copy / 1e6}


def calls_for(milliseconds):
    """Enough to be much longer than waiting for the end takes."""
    return max(3, min(200, int(50 / max(milliseconds, 0.01))))


def measure_shape(ours, shape):
    contestants = {"ours": lambda calls: ours.measure(shape, calls)}
    for name, backend in BACKENDS.items():
        if shape["dtype"] == FLOAT8:
            continue  # PyTorch has none
        if name == "math" and max(shape["seqlenQ"], 1) * shape["seqlenK"] > MATH_LIMIT**2:
            continue
        contestants[name] = lambda calls, backend=backend: measure_peer(shape, backend, calls)
    times, errors = {name: [] for name in contestants}, {}
    for _ in range(ROUNDS):
        for name, measure in contestants.items():
            if name in errors:
                continue
            try:
                times[name].append(measure(calls_for(times[name][0] if times[name] else measure(1))))
            except Exception as error:  # a back end that does not take the shape says so
                errors[name] = (str(error).splitlines() or [repr(error)])[0][:160]
    return {
        "shape": shape,
        "flops": flops(shape),
        "kvBytes": kv_bytes(shape),
        "milliseconds": {name: statistics.median(each) for name, each in times.items() if each},
        "all": times,
        "errors": errors,
    }


def table(results, ceilings):
    """A share is ours of the card's own limit: of the bfloat16 product, for decode of the copy."""
    names = ["ours", *BACKENDS]
    lines = [
        f"8192³ bfloat16 product {ceilings['matmulTflops']:.0f} TFLOP/s, copy {ceilings['copyGBps']:.0f} GB/s",
        "",
        "| call | dtype | batch | queries | keys | heads | dim | causal | " + " | ".join(names) + " | share |",
        "|---" * (9 + len(names)) + "|",
    ]
    for result in results:
        shape = result["shape"]
        decode = shape["seqlenQ"] == 1

        def rate(name):
            milliseconds = result["milliseconds"].get(name)
            if milliseconds is None:
                return None
            return result["kvBytes"] / milliseconds / 1e6 if decode else result["flops"] / milliseconds / 1e9

        def figure(name):
            return "-" if rate(name) is None else f"{rate(name):.0f} {'GB/s' if decode else 'TFLOP/s'}"

        heads = f"{shape['heads']}/{shape['kvHeads']}"
        limit = ceilings["copyGBps" if decode else "matmulTflops"]
        share = "-" if rate("ours") is None else f"{rate('ours') / limit:.0%}"
        cells = [
            shape["kind"], shape["dtype"], shape["batch"], shape["seqlenQ"], shape["seqlenK"], heads, shape["headDim"],
            shape["causal"], *map(figure, names), share,
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def write(path, text):
    """All of it or nothing."""
    with open(path + ".new", "w") as file:
        file.write(text)
    os.replace(path + ".new", path)


def main():
    parser = argparse.ArgumentParser()
    for option in ("--node", "--server", "--out"):
        parser.add_argument(option, required=True)
    parser.add_argument("--seconds", type=float, default=1e9, help="begins no further shape after so many")
    options = parser.parse_args()
    started = time.monotonic()
    rehearsal = not os.environ.get("FLASH_ATTENTION_DEVICE", "cuda:0").startswith("cuda")
    if torch is None and not rehearsal:
        raise SystemExit("bench: PyTorch was not found, and without peers there is nothing to compare with")
    ours = Ours(options.node, options.server)
    report = {"rehearsal": rehearsal, "ours": ours.about, "results": [], "leftOut": []}
    if torch is not None and not rehearsal:
        report["torch"] = {"version": torch.__version__, "cudnn": torch.backends.cudnn.version()}
        report["device"] = torch.cuda.get_device_name()
        report["ceilings"] = measure_ceilings()
        print(json.dumps(report["ceilings"]))
    for shape in sorted(shapes(rehearsal), key=urgency):
        if time.monotonic() - started > options.seconds:
            report["leftOut"].append(shape)
            continue
        result = measure_shape(ours, shape)
        report["results"].append(result)
        print(json.dumps({"shape": shape, "milliseconds": result["milliseconds"], "errors": result["errors"]}))
        write(os.path.join(options.out, "bench.json"), json.dumps(report, indent=1))
        if not rehearsal:
            write(os.path.join(options.out, "bench.md"), table(report["results"], report["ceilings"]))
    ours.stop()
    write(os.path.join(options.out, "bench.json"), json.dumps(report, indent=1))
    if rehearsal:
        print("A rehearsal without a GPU: these times are those of another device and say nothing about one.")
    else:
        print(table(report["results"], report["ceilings"]))
    if report["leftOut"]:
        print(f"{len(report['leftOut'])} shapes were left out: there was no time for them.")
    raise SystemExit(1 if any("ours" in result["errors"] for result in report["results"]) else 0)


if __name__ == "__main__":
    main()
