/* SPDX-License-Identifier: Apache-2.0 */
/* Which versions of the filesystems' tools are installed here. */

#include "fs/tools/tools.h"

#include "common/base/cleanup.h"
#include "common/base/exec.h"

#define VERSION_TIMEOUT_MSECS 5000

static bool is_digit(char c) {
        return c >= '0' && c <= '9';
}

/* The first "digits.digits" that starts a word ("v6.2" too); years and dates have no such dot. */
uint32_t fs_tool_version(const char *text) {
        for (const char *p = text; *p; p++) {
                const char *digits = p;
                uint32_t version;

                if (p != text && p[-1] != ' ' && p[-1] != 'v' && p[-1] != '\n')
                        continue;
                while (is_digit(*digits))
                        digits++;
                if (digits == p || *digits != '.' || !is_digit(digits[1]))
                        continue;
                if (fs_version_parse(p, &version) == 0 && version != FS_TOOLS_UNKNOWN)
                        return version;
        }
        return FS_TOOLS_ABSENT;
}

void fs_tools_read(uint32_t tools[_FS_TOOLS_N]) {
        for (size_t i = 0; i < fs_n_toolsets; i++) {
                const FsToolset *set = &fs_toolsets[i];
                const char *argv[] = {set->programs[FS_PROGRAM_MAKE], set->version_flag, NULL};
                ExecRequest request = {
                        .argv = argv,
                        .timeout_msecs = VERSION_TIMEOUT_MSECS,
                        .output_limit_bytes = 4096,
                        .confinement = CONFINEMENT_TOOL,
                };
                ExecResult result = {0};

                tools[set->tools] = FS_TOOLS_ABSENT;
                if (exec_run(&request, &result) == 0) {
                        tools[set->tools] = fs_tool_version(result.output);
                        if (tools[set->tools] == FS_TOOLS_ABSENT)
                                tools[set->tools] = fs_tool_version(result.errors);
                }
                exec_result_deinit(&result);
        }
}
