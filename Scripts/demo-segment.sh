#!/bin/sh
# The demonstration of segmentation: demo-segment.sh SPARROW DEVICE
# Draws cells, pretrains on all of them, trains on two labelled ones, segments and scores the others.
set -eu
cd "$(dirname "$0")/.."
sparrow=$1
device=$2

number=1
while [ -e "runs/segment-$number" ]; do number=$((number + 1)); done
run=runs/segment-$number
mkdir -p "$run"
classes=cytoplasm=0,membrane=128,nucleus=255

"$sparrow" segment draw --count 10 --size 256 --seed 1 --output "$run/cells"
"$sparrow" segment draw --count 4 --size 256 --seed 2 --output "$run/test"
echo; echo "Pretraining the front end on ten images without labels"
"$sparrow" segment pretrain --images "$run/cells/images" --preset small --steps 120 \
  --device "$device" --output "$run/front"
echo; echo "Training on two labelled images"
"$sparrow" segment train --images "$run/cells/images" --labels "$run/cells/labels" --limit 2 \
  --classes "$classes" --pretrained "$run/front" --steps 220 --device "$device" \
  --output "$run/model"
echo; echo "Segmenting four others"
"$sparrow" segment predict --model "$run/model" --images "$run/test/images" --overlay \
  --uncertainty --device "$device" --output "$run/predicted"
"$sparrow" segment evaluate --model "$run/model" --images "$run/test/images" \
  --labels "$run/test/labels" --device "$device"
echo
echo "Pictures to look at:"
printf '  %-52s %s\n' "$run/front/reconstructions.png" 'what the front end saw, restored, and the truth'
printf '  %-52s %s\n' "$run/model/training.png" 'a labelled image, its labels, the answer'
printf '  %-52s %s\n' "$run/predicted/cells000-overlay.png" 'a new image with its segmentation'
printf '  %-52s %s\n' "$run/predicted/cells000-uncertainty.png" 'where the model is unsure'
