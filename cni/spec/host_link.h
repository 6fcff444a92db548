/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_SPEC_HOST_LINK_H
#define BERTH_CNI_SPEC_HOST_LINK_H

/* The host's end of a pod's pair in the kernel, and links that go: names and marks are those of
 * cni/spec/attachment.h. */

#include "cni/spec/attachment.h"

/* Held by an ADD while the pair of this name is made, and by a GC that takes a pair for abandoned.
 * Return: as netns_hold_name(). */
int host_link_hold(const char *name, int *fdp);

/* How long one who adds, deletes or repairs an attachment waits for another who does. */
#define ATTACHMENT_HOLD_MSECS 10000

/* Held by who adds, takes away or repairs the attachment of @owner, so that what one looked at is
 * still so when it writes. Return: as netns_hold_name_wait(). */
int attachment_hold(const uint8_t owner[OWNER_SIZE], int *fdp);

/* Is the other end of @link in a namespace that is used? One that is not takes its links along a
 * moment later. Return: also true when it cannot be told. */
bool host_link_lives(NlSocket *rtnl, const Link *link);

/* The host's end of @at into @link. Return: 0; -ENODEV; another -errno. */
int host_link_find(const Attachment *at, Link *link);

/* Removes them together and empties the list; missing is done. Return: 0; -errno. */
int link_list_remove(NlSocket *rtnl, LinkList *list);

/* Sets them down, and gives them names and a group that nobody else has: what had their names
 * before can be made anew. Up to 32. Return: 0, also of links that are gone; -errno. */
int link_list_mark_removed(NlSocket *rtnl, const LinkList *list);

/* Removes what link_list_mark_removed() left, whoever called it. */
int link_marked_remove(NlSocket *rtnl);

#endif
