#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Includes run one way: common/base <- the rooms of common <- csi and cni, which never meet; proto <- csi. What talks to
# the kernel does so in common. Tests may include anything.
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

# Headers of the kernel's interfaces, whose only place is common/. The numbers that a rule or a route is made of are data
# to a plan: linux/rtnetlink.h, linux/if_addr.h and linux/netfilter* may be used in cni/, what is sent with them not.
kernel='linux/(netlink|if_link|if_bridge|if_tun|nfnetlink|loop|fs|mount|blkpg)\.h|sys/(mount|ioctl)\.h|netlink/.*|blkid/.*|libmnl/.*'

# nftables is spoken in netlink messages.
uses='common/nft:common/netlink'

while IFS=: read -r file line text; do
    case $file in
        tests/* | */test-*.[ch] | */fuzz-*.c) continue ;;
    esac
    header=$(sed -E 's/^ *# *include *["<]([^">]+)[">].*/\1/' <<<"$text")
    room=${file%%/*}
    case $file in common/*/*) room=$(cut -d/ -f1-2 <<<"$file") ;; esac
    if [[ $room != common/* && $header =~ ^($kernel)$ ]]; then
        report "$file:$line: <$header> is for common/ only"
    fi
    [[ $text == *'"'* ]] || continue
    case $header in
        common/base/*) ;;
        common/*)
            target=$(cut -d/ -f1-2 <<<"$header")
            if [[ $room == common/* && $room != "$target" && " $uses " != *" $room:$target "* ]]; then
                report "$file:$line: $room must not know $target"
            fi
            ;;
        csi/* | cni/*)
            [[ ${header%%/*} == "$room" ]] || report "$file:$line: $room must not include $header"
            ;;
        *.pb-c.h)
            [[ $room == csi ]] || report "$file:$line: the wire's messages are for csi/ only"
            ;;
        *) report "$file:$line: \"$header\": includes are from the source root" ;;
    esac
done < <(files '*.c' '*.h' | xargs grep -nE '^ *# *include' /dev/null)
exit "$failed"
