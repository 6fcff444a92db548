#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Includes run one way, down the ranks below; rooms of one rank do not know each other, and csi and cni never meet. What
# talks to the kernel does so in common. Each source is in a room, and no room is larger than a person can survey.
# Tests may include anything.
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

# Headers of the kernel's interfaces, whose only place is common/. The numbers that a rule or a route is made of are data
# to a plan: linux/rtnetlink.h, linux/if_addr.h and linux/netfilter* may be used in cni/, what is sent with them not.
kernel='linux/(netlink|if_link|if_bridge|if_tun|nfnetlink|loop|fs|mount|blkpg)\.h|sys/(mount|ioctl)\.h|netlink/.*|blkid/.*|libmnl/.*'

# Most sources in one room.
most=25

# rank: its rooms
ranks='
10 common/base
11 common/ip common/netlink common/mount common/block common/netns common/platform common/crypt common/http common/dbus
12 common/nft
20 fs fs/volume
21 fs/formats fs/features
22 fs/tools
23 fs/hosts
24 fs/verdict
25 fs/look
26 fs/make
27 fs/command
30 csi/api
31 csi/metrics
32 csi/wait
33 csi/kubelet csi/grpc csi/cloud
34 csi/luks csi/share csi/local
35 csi/providers
36 csi/node
37 csi/service
38 csi/daemon
39 csi/cli
40 csi
50 cni/spec
51 cni/ipam cni/rules cni/link
52 cni/features cni/migrate
53 cni/commands
54 cni/cli
55 cni/node
60 cni'

# Arrows up that stand today, and rooms that are too large; this list may only shrink.
known=' '

declare -A rank
while read -r number rooms; do
    for room in $rooms; do rank[$room]=$number; done
done <<<"$ranks"

while IFS=: read -r file line text; do
    case $file in
        tests/* | */test-*.[ch] | */fuzz-*.c) continue ;;
    esac
    [[ $text =~ ^\ *#\ *include\ *[\"\<]([^\"\>]+) ]] || continue
    header=${BASH_REMATCH[1]}
    room=${file%/*}
    if [[ $room != common/* && $header =~ ^($kernel)$ ]]; then
        report "$file:$line: <$header> is for common/ only"
    fi
    [[ $text == *'"'* ]] || continue
    target=${header%/*}
    case $header in
        *.pb-c.h)
            [[ $room == csi/* ]] || report "$file:$line: the wire's messages are for csi/ only"
            continue
            ;;
        */*) ;;
        *) report "$file:$line: \"$header\": includes are from the source root" ;;
    esac
    [[ $room != "$target" ]] || continue
    [[ $header != *_internal.h || $known == *" $room:$target "* ]] || report "$file:$line: $header is of $target alone"
    if [[ ${room%%/*}:${target%%/*} == cni:@(csi|fs) || -z ${rank[$target]-} ]]; then
        report "$file:$line: $room must not include $header"
    elif ((${rank[$target]} >= ${rank[$room]-0})) && [[ $known != *" $room:$target "* ]]; then
        report "$file:$line: $room must not know $target"
    fi
done < <(files '*.c' '*.h' | xargs grep -nE '^ *# *include' /dev/null)

while read -r number room; do
    [[ -n ${rank[$room]-} ]] || report "$room: a source in no room"
    ((number <= most)) || [[ $known == *" $room "* ]] || report "$room: $number sources, at most $most in a room"
done < <(files '*.c' | grep -vE '(^tests/|/(test|fuzz)-[^/]*$)' | xargs -n1 dirname | sort | uniq -c)
exit "$failed"
