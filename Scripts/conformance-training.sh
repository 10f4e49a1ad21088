#!/usr/bin/env bash
# Trains each kind of network for a moment on device 0:0 and on the reference and compares:
#   conformance-training.sh SPARROW FOLDER IMAGES SIDE STEPS [COMMAND...]
# What runs on the device runs under COMMAND. Prints a line that begins with "ok " for each
# comparison that holds, "FAILED " for each that does not; exit status 1 where one does not.
set -uo pipefail
sparrow=$1 folder=$2 images=$3 side=$4 steps=$5
shift 5
wrapper=("$@")
mkdir -p "$folder" || exit 1
failed=0

# The file that Oclgrind reports to, which each of its runs begins anew.
log=
for ((i = 0; i + 1 < ${#wrapper[@]}; i++)); do
  [ "${wrapper[i]}" != --log ] || log=${wrapper[i + 1]}
done
[ -z "$log" ] || rm -f "$log.all"

# on_device ARGUMENTS...: a simulator does without the self-test, whose cases were checked before.
on_device() {
  local force=()
  [ ${#wrapper[@]} -eq 0 ] || force=(--force-device)
  "${wrapper[@]}" "$sparrow" "$@" --device 0:0 "${force[@]}" || exit
  [ -z "$log" ] || cat "$log" >>"$log.all" || exit 1
}

on_reference() { "$sparrow" "$@" --device reference || exit; }

# compare NAME TOLERANCE EXPRESSION: a Python expression of device and reference figures `d`, `r`,
# read from two JSON or CSV files.
compare() {
  if python3 - "$1" "$2" "$3" "$4" "$5" <<'END'; then
import csv, json, sys
name, tolerance, device, reference, key = sys.argv[1:]
def figure(path):
    if path.endswith(".csv"):
        return float(list(csv.DictReader(open(path)))[-1][key])
    value = json.load(open(path))
    for part in key.split("."):
        value = value[int(part)] if part.isdigit() else value[part]
    return float(value)
d, r = figure(device), figure(reference)
holds = abs(d - r) <= float(tolerance) * abs(r)
print("ok" if holds else "FAILED", name, f"{key} {d:.8g}, reference {r:.8g}")
sys.exit(not holds)
END
    return
  fi
  failed=1
}

# Dense layers, a sparse dictionary, a learned threshold with a closed loop, gates.
while read -r name options; do
  # shellcheck disable=SC2086
  for where in device reference; do
    "on_$where" train --data "glyphs:$images" --epochs 1 --batch 10 --seed 3 $options \
      --output "$folder/$name-$where" >/dev/null
  done
  compare "training $name:" 1e-3 "$folder/$name-device/metrics.csv" \
    "$folder/$name-reference/metrics.csv" loss
  for where in device reference; do
    "on_$where" evaluate --model "$folder/$name-reference/model.safetensors" \
      --data "glyphs:$images" --json >"$folder/$name-$where.json"
  done
  compare "evaluation $name:" 1e-5 "$folder/$name-device.json" "$folder/$name-reference.json" mse
done <<'END'
relu --code relu
dictionary --latents 128 --code topk:8
jumprelu --code jumprelu --target-l0 8
hardconcrete --code hardconcrete --target-l0 8
END

"$sparrow" segment draw --count 2 --size "$((2 * side))" --seed 1 --output "$folder/cells" >/dev/null ||
  exit 1
for where in device reference; do
  "on_$where" segment train --images "$folder/cells/images" --labels "$folder/cells/labels" \
    --classes cytoplasm=0,membrane=128,nucleus=255 --preset small --crop "$side" --batch 2 \
    --steps "$steps" --seed 3 --output "$folder/segment-$where" >/dev/null
done
compare "training a segmenter:" 1e-2 "$folder/segment-device/metrics.csv" \
  "$folder/segment-reference/metrics.csv" loss
for where in device reference; do
  "on_$where" segment evaluate --model "$folder/segment-reference" \
    --images "$folder/cells/images" --labels "$folder/cells/labels" --json \
    >"$folder/segment-$where.json"
done
compare "segmentation:" 2e-3 "$folder/segment-device.json" "$folder/segment-reference.json" accuracy
[ -z "$log" ] || mv "$log.all" "$log"
exit $failed
