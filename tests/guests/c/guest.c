#define _GNU_SOURCE // memmem
#include "plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Generated names are long because they carry package and interface.
typedef exports_syncline_plugin_handler_context_t context_t;
typedef exports_syncline_plugin_handler_incoming_t incoming_t;
typedef exports_syncline_plugin_handler_manifest_t manifest_t;
typedef exports_syncline_plugin_handler_verdict_t verdict_t;
typedef syncline_plugin_types_effect_t effect_t;

// What the host passes in is ours to free. What we return the bindings free: it is on the heap.

void exports_syncline_plugin_handler_describe(manifest_t *manifest) {
    memset(manifest, 0, sizeof *manifest);
    plugin_string_dup(&manifest->name, "guest-c");
    plugin_string_dup(&manifest->version, "0.1.0");
}

bool exports_syncline_plugin_handler_init(context_t *context, plugin_string_t *error) {
    (void)error;
    exports_syncline_plugin_handler_context_free(context);
    return true;
}

static void log_seen(void) {
    // Arguments of an import are only borrowed by the host: no copies.
    plugin_string_t message;
    plugin_tuple2_string_string_t field;
    plugin_string_set(&message, "seen");
    plugin_string_set(&field.f0, "lang");
    plugin_string_set(&field.f1, "c");
    plugin_list_tuple2_string_string_t fields = {&field, 1};
    syncline_plugin_log_write(SYNCLINE_PLUGIN_LOG_LEVEL_INFO, &message, &fields);
}

static bool contains(const plugin_list_u8_t *data, const char *word) {
    return memmem(data->ptr, data->len, word, strlen(word)) != NULL;
}

static void accept(incoming_t *incoming, verdict_t *verdict) {
    effect_t *effect = calloc(1, sizeof *effect);
    if (effect == NULL) abort();
    effect->operation = SYNCLINE_PLUGIN_TYPES_OPERATION_UPSERT;
    effect->content_type.is_some = true;
    plugin_string_dup(&effect->content_type.val, "application/json");

    // Key and data move from the event to the effect.
    effect->key = incoming->delivery.key;
    effect->payload = incoming->data;
    memset(&incoming->delivery.key, 0, sizeof incoming->delivery.key);
    memset(&incoming->data, 0, sizeof incoming->data);

    verdict->tag = SYNCLINE_PLUGIN_TYPES_VERDICT_ACCEPT;
    verdict->val.accept.effects.ptr = effect;
    verdict->val.accept.effects.len = 1;
    verdict->val.accept.next.tag = SYNCLINE_PLUGIN_TYPES_NEXT_STOP;
}

void exports_syncline_plugin_handler_process(incoming_t *incoming, verdict_t *verdict) {
    memset(verdict, 0, sizeof *verdict);
    log_seen();

    if (contains(&incoming->data, "drop")) {
        verdict->tag = SYNCLINE_PLUGIN_TYPES_VERDICT_DROP;
        plugin_string_dup(&verdict->val.drop, "asked to");
    } else if (contains(&incoming->data, "reject")) {
        verdict->tag = SYNCLINE_PLUGIN_TYPES_VERDICT_REJECT;
        plugin_string_dup(&verdict->val.reject, "asked to");
    } else if (contains(&incoming->data, "retry")) {
        verdict->tag = SYNCLINE_PLUGIN_TYPES_VERDICT_RETRY;
        plugin_string_dup(&verdict->val.retry.reason, "asked to");
        verdict->val.retry.after_ms.is_some = true;
        verdict->val.retry.after_ms.val = 5;
    } else if (contains(&incoming->data, "crash")) {
        fputs("guest-c: asked to crash\n", stderr);
        abort();
    } else {
        accept(incoming, verdict);
    }
    exports_syncline_plugin_handler_incoming_free(incoming);
}
