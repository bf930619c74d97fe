#!/usr/bin/env bash
# On the GPU machine, in the background while training runs: bash code/tests/benchmarks/relay/after.sh
# Waits for its end, then measures run/checkpoint on two GPUs (about 200 s) into ev/, and writes run/small (int8).
cd ~/stage && mkdir -p ev
D="bash on_device.sh" C=run/checkpoint V="data/validation.parquet --whole" H=with/held-out.parquet
until [ -f run/checkpoint/manifest.json ] && ! pgrep -f "torchrun --standalone" >/dev/null; do sleep 1; done
(
  export CUDA_VISIBLE_DEVICES=0
  timeout 120 $D kinds $C $V --tokens 16 32 24 --samples 108 >ev/validation.txt 2>&1
  timeout 120 $D kinds $C $H --tokens 16 32 --samples 12 --part 0/2 >ev/kinds0.txt 2>&1
) &
(
  export CUDA_VISIBLE_DEVICES=1
  timeout 120 $D kinds $C $H --tokens 16 32 --samples 12 --part 1/2 >ev/kinds1.txt 2>&1
  timeout 60 $D kinds $C $V --tokens 16 --samples 96 --noise 0.01 --tell >ev/noise.txt 2>&1
  timeout 70 $D kinds $C $H --tokens 48 64 --samples 4 --length 72 --seconds 40 \
    --only books contracts court email finance government medical news reviews science terms web >ev/long.txt 2>&1
) &
$D small $C run/small
wait
touch ev/ended
