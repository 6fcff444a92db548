#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# make.sh BUILD-DIRECTORY: makes filesystems with the installed tools and records what the engine reads of each into
# NAME.pieces beside this file (tests/lib/pieces.h has the form). Needs root for those that are caught while mounted.
set -eu
build=$(readlink -f "$1")
here=$(dirname "$(readlink -f "$0")")
scratch=$(mktemp -d)
mkdir "$scratch/mnt"
trap 'umount "$scratch/mnt" 2>/dev/null || :; rm -rf "$scratch"' EXIT
image=$scratch/image

fresh() {
    rm -f "$image"
    truncate -s "$1" "$image"
}
record() { "$build/tests/lib/record-pieces" "${2:-$image}" "$here/$1.pieces"; }
# make NAME SIZE MKFS...: the image is the last word
make() {
    local name=$1 size=$2
    shift 2
    fresh "$size"
    "$@" "$image" >/dev/null 2>&1
    record "$name"
}
# caught NAME: the image as a crash would leave it, with a file being written
caught() {
    mount -o loop "$image" "$scratch/mnt"
    dd if=/dev/zero of="$scratch/mnt/file" bs=64k count=16 status=none
    sync -f "$scratch/mnt"
    cp --sparse=always "$image" "$scratch/copy"
    umount "$scratch/mnt"
    record "$1" "$scratch/copy"
}

make ext2 64M mke2fs -q -t ext2 -U 00000000-0000-4000-8000-0000000000e2
make ext3 64M mke2fs -q -t ext3 -L label-of-ext3
make ext4 256M mke2fs -q -t ext4 -b 4096 -O orphan_file,metadata_csum_seed
caught ext4-caught-orphan_file
make ext4-1k 64M mke2fs -q -t ext4 -b 1024
make ext4-64k 512M mke2fs -q -F -t ext4 -b 65536
make ext4-fast_commit 256M mke2fs -q -t ext4 -b 4096 -O fast_commit
caught ext4-caught-fast_commit
make ext4-mmp 256M mke2fs -q -t ext4 -b 4096 -O mmp
caught ext4-caught-mmp
make ext4-bigalloc 256M mke2fs -q -t ext4 -b 4096 -O bigalloc -C 65536
make ext4-many 256M mke2fs -q -t ext4 -b 4096 -O casefold,encrypt,project,quota,verity,ea_inode,large_dir,inline_data,sparse_super2
make ext4-meta_bg 256M mke2fs -q -t ext4 -b 4096 -O meta_bg,^resize_inode
make ext4-recipe-3.18 256M mke2fs -q -t ext4 -b 4096 -I 256 -O none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum
make ext4-journal_dev 64M mke2fs -q -O journal_dev -b 4096

make xfs 300M mkfs.xfs -q -L label-of-xfs
caught xfs-caught
make xfs-v4 300M mkfs.xfs -q -m crc=0
make xfs-all 300M mkfs.xfs -q -s size=4096 -m rmapbt=1 -i nrext64=1
make xfs-16k 300M mkfs.xfs -q -b size=16384
make xfs-ci 300M mkfs.xfs -q -n version=ci
make xfs-recipe-4.2 300M mkfs.xfs -q -m crc=1,finobt=1,reflink=0,rmapbt=0,bigtime=0,inobtcount=0 -i sparse=1,nrext64=0

make btrfs 128M mkfs.btrfs -q -L label-of-btrfs
make btrfs-xxhash 128M mkfs.btrfs -q --csum xxhash
make btrfs-sha256 128M mkfs.btrfs -q --csum sha256
make btrfs-blake2 128M mkfs.btrfs -q --csum blake2
make btrfs-64k 256M mkfs.btrfs -q -s 65536 -n 65536
fresh 128M
mkfs.btrfs -q "$image" >/dev/null 2>&1
mount -o loop "$image" "$scratch/mnt"
dd if=/dev/zero of="$scratch/mnt/file" bs=64k count=16 conv=fsync status=none
cp --sparse=always "$image" "$scratch/copy"
umount "$scratch/mnt"
record btrfs-caught "$scratch/copy"

make f2fs 64M mkfs.f2fs -q -l label-of-f2fs -O extra_attr,sb_checksum,inode_crtime
make vfat 64M mkfs.vfat -n LABELOFFAT
make exfat 64M mkfs.exfat
make ntfs 64M mkntfs -q -Q -F
mkdir "$scratch/tree"
echo text >"$scratch/tree/file"
mkfs.erofs -zlz4hc "$image" "$scratch/tree" >/dev/null 2>&1
record erofs
mksquashfs "$scratch/tree" "$image" -noappend -quiet -comp zstd >/dev/null
record squashfs
