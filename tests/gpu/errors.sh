#!/bin/bash
# SPDX-License-Identifier: MIT
# What goes wrong on a GPU is told, and nothing is lost by it: tests/gpu/errors.sh MOVIEGEN MODELS FOLDER
# A device that does not exist; a device whose memory another program has taken, before the context is made and while a
# film is made; Ctrl-C in a training whose steps are captured. Prints a line for each; the status is that of all.
set -u
moviegen=$1 models=$2 out=$3 bad=0
mkdir -p "$out"
result() { # name, whether it is good, what was said
    if [ "$2" = 0 ]; then
        echo "ok - $1"
    else
        bad=1
        echo "not ok - $1: $3"
    fi
}
film() { # device
    timeout 60 "$moviegen" generate "a red ball rolls left" --model "$models/toybox" --device "$1" --steps 4 -o "$out/film.y4m" -q 2>&1
}

said=$(film cuda:99)
[ $? = 1 ] && grep -q "cuda:99 does not exist; this machine has cuda:0 to cuda:[0-9]*$" <<<"$said"
result "a device that does not exist" $? "$said"

# Another program takes the memory, all but some MB, and gives it back when its input ends.
hold='import sys, torch
free = torch.cuda.mem_get_info()[0]
kept = [torch.empty(free - (int(sys.argv[1]) << 20), dtype=torch.uint8, device="cuda")]
print("held", flush=True)
sys.stdin.read()'
for megabytes in 100 560; do
    coproc python3 -c "$hold" $megabytes 2>&1
    read -r answer <&"${COPROC[0]}"
    said=$(film cuda)
    status=$?
    eval "exec ${COPROC[1]}>&-"
    wait "$COPROC_PID"
    # What is left may be enough for a film; if it is not, that is what is said.
    [ "$answer" = held ] && { [ $status = 0 ] || { [ $status = 1 ] && grep -qi "memory" <<<"$said"; }; }
    result "$megabytes MB of memory: status $status" $? "$answer; $said"
    echo "# $said"
done
said=$(film cuda)
result "afterwards" $? "$said"

printf '%s' '{"format": "moviegen-recipe", "version": 1, "stages": [{"name": "tae", "kind": "autoencoder", "tae": {"channels":
 [16, 32, 64, 128], "latent_channels": 16, "blocks": 1, "temporal": true}, "precision": "f32", "steps": 100000, "batch": 2,
 "frames": 8, "l1": 1, "optimizer": {"lr": 0.0005}}]}' >"$out/recipe.json"
"$moviegen" train --recipe "$out/recipe.json" --stage tae --dir "$out/model" --device cuda --log "$out/log" --log-every 1 -q >"$out/said" 2>&1 &
for _ in $(seq 200); do
    [ "$({ wc -l <"$out/log" || echo 0; } 2>/dev/null)" -lt 20 ] || break
    sleep 0.1
done
kill -INT $!
wait $!
status=$?
[ $status = 130 ] && [ -s "$out/model/tae.safetensors" ]
result "Ctrl-C in a training: status $status" $? "$(cat "$out/said")"
exit $bad
