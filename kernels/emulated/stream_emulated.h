/* SPDX-License-Identifier: MIT
 * Streams and events of a GPU that the host plays, for tests only.
 *
 * What is put onto a stream is done later: by any thread that waits for something, or now and then by one that puts
 * something else there, and in no other order than the stream's own and that of events. Whoever misses a wait
 * therefore finds work too late or too early. A thread that waits for a stream gets on with that one first; all
 * others are as late as they can be. */
#ifndef MGK_STREAM_EMULATED_H
#define MGK_STREAM_EMULATED_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mgk_queue mgk_queue;
typedef struct mgk_queue_event mgk_queue_event;

/* Is it done? If not, it is called again. By any thread. */
typedef bool mgk_queue_fn(void *what);

/* `bytes` for what fn is given, aligned to MGK_QUEUE_ALIGN; put links it in, when it has been filled; or it is dropped. */
enum { MGK_QUEUE_ALIGN = 64 };
void *mgk_queue_keep(mgk_queue_fn *fn, size_t bytes);
void mgk_queue_put(mgk_queue *queue, void *kept);
void mgk_queue_drop(void *kept);
bool mgk_queue_call(void *kept); /* here and now */

/* NULL: no memory. Freed when its work is done. */
mgk_queue *mgk_queue_new(int device);
void mgk_queue_free(mgk_queue *queue);
mgk_queue_event *mgk_queue_event_new(void);
void mgk_queue_event_free(mgk_queue_event *event);
double *
mgk_queue_event_time(mgk_queue_event *event); /* whatever who records it writes there; 0 at first */

void mgk_queue_record(mgk_queue *queue, mgk_queue_event *event);
void mgk_queue_follow(mgk_queue *queue, mgk_queue_event *event); /* as it was recorded last */

/* Whether all is done so far; asking lets others get on. */
bool mgk_queue_done(mgk_queue *queue);
bool mgk_queue_event_done(mgk_queue_event *event);
void mgk_queue_wait(mgk_queue *queue);
void mgk_queue_event_wait(mgk_queue_event *event);
void mgk_queue_wait_device(int device); /* for all of its streams */

#ifdef __cplusplus
}
#endif

#endif
