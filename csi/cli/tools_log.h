/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_CLI_TOOLS_LOG_H
#define BERTH_CSI_CLI_TOOLS_LOG_H

/* Logs which filesystem tools are installed, in which version, a moment after the start: asking
 * them takes four processes, and the first Probe shall not wait for that. */

typedef struct ToolsLog ToolsLog;

/* Return: 0; -errno. */
int tools_log_start(ToolsLog **logp);

/* Ends it, also before it has logged. NULL is fine. */
void tools_log_stop(ToolsLog *log);

#endif
