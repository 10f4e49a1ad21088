#!/bin/sh
# The demonstration: demo.sh SPARROW EPOCHS DEVICE
# Trains the collapsed autoencoder on glyphs, evaluates it, and says what it left where.
set -eu
cd "$(dirname "$0")/.."
sparrow=$1
epochs=$2
device=$3

number=1
while [ -e "runs/demo-$number" ]; do number=$((number + 1)); done
run=runs/demo-$number
mkdir -p runs

"$sparrow" train --data glyphs --epochs "$epochs" --device "$device" --output "$run"
echo
"$sparrow" evaluate --model "$run/model.safetensors" --data glyphs --device "$device"
echo
echo "The run is in $run:"
for file in "$run"/*; do
  case $file in
    *.png) what='inputs (above) and their reconstructions (below)' ;;
    *metrics.csv) what='loss, MSE, L0 and seconds of every epoch' ;;
    *model.safetensors) what='the model and its configuration' ;;
    *) continue ;;
  esac
  printf '  %-40s %s\n' "$file" "$what"
done
