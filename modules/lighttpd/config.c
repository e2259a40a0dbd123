/*
 * lighttpd's configuration read: the lines of its global part and of each condition.
 *
 * Every value is checked by libfcgate as it is read. lighttpd keeps no line numbers: what is wrong is told by its
 * name and the condition that it stands in. The settings of one condition become one level (a fcgate_route
 * without a balancer); which conditions hold is known with each request only.
 */
#include "mod_fcgate.h"
#include "configfile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OURS "fcgate."
#define OURS_LENGTH (sizeof OURS - 1)

/* A setting of libfcgate's table, or one that a later version brings. */
typedef struct {
    const char *key; /* as lighttpd has it */
    uint32_t scope;
} setting_t;

#define FCGATE_SCOPE_LATER 0
static const setting_t settings[] = {
#define FCGATE_SETTING(name, Name, SCOPE, KIND, value, help) {OURS #name, FCGATE_SCOPE_##SCOPE},
#define FCGATE_LATER(name, Name) {OURS #name, FCGATE_SCOPE_LATER},
#include "../settings.h"
};
#define SETTINGS (sizeof settings / sizeof *settings)

static const char *const others[] = {OURS "balancers", OURS "map", OURS "param", OURS "param_unset",
                                     OURS "status_url", OURS "log_stderr"};
#define OTHERS (sizeof others / sizeof *others)

const char *mod_fcgate_value(const data_unset *line, char text[24])
{
    if (line->type == TYPE_INTEGER) {
        snprintf(text, 24, "%d", ((const data_integer *)line)->value);
        return text;
    }
    if (line->type == TYPE_STRING) {
        const buffer *value = &((const data_string *)line)->value;

        return buffer_is_blank(value) ? "" : value->ptr;
    }
    return NULL;
}

const char *mod_fcgate_hint(const char *word, const char *const *candidates, size_t count, char text[160])
{
    const char *near = fcgate_nearest(word, candidates, count);

    text[0] = '\0';
    if (near) {
        snprintf(text, 160, "; did you mean %s?", near);
    }
    return text;
}

/* ---- params ---- */

static int set_param(plugin_data *plugin, const char *balancer, fcgate_route *level, const char *name,
                     const char *value, uint32_t flags, fcgate_error *error)
{
    if (value) {
        return balancer ? fcgate_config_param(plugin->config, balancer, name, value, flags, error)
                        : fcgate_route_param(level, name, value, flags, error);
    }
    return balancer ? fcgate_config_param_unset(plugin->config, balancer, name, error)
                    : fcgate_route_param_unset(level, name, error);
}

/* "value", or ( "value", "if_not_empty" ); NULL for anything else. */
static const char *param_value(const data_unset *entry, char text[24], uint32_t *flags)
{
    const array *pair = entry->type == TYPE_ARRAY ? &((const data_array *)entry)->value : NULL;
    const data_string *word;

    if (!pair) {
        return mod_fcgate_value(entry, text);
    }
    if (pair->used != 2 || !buffer_is_unset(&pair->data[0]->key) || pair->data[1]->type != TYPE_STRING) {
        return NULL;
    }
    word = (const data_string *)pair->data[1];
    if (!buffer_is_unset(&word->key) || !buffer_eq_slen(&word->value, CONST_STR_LEN("if_not_empty"))) {
        return NULL;
    }
    *flags = FCGATE_IF_NOT_EMPTY;
    return mod_fcgate_value(pair->data[0], text);
}

/* A list of names and values, or of names that are not to be params. */
int mod_fcgate_set_params(plugin_data *plugin, const data_unset *line, const char *balancer, fcgate_route *level,
                          const char *place)
{
    const array *list = line->type == TYPE_ARRAY ? &((const data_array *)line)->value : NULL;
    int is_unset = strstr(line->key.ptr, "unset") != NULL;
    int is_right = 1;

    if (!list || !(is_unset ? array_is_vlist(list) : array_is_kvany(list))) {
        log_error(plugin->srv->errh, HERE, "%s: %s", place,
                  is_unset ? "write a list of names: ( \"NAME\" )" : "write a list: ( \"NAME\" => \"value\" )");
        return 0;
    }
    for (uint32_t i = 0; i < list->used; i++) {
        const data_unset *entry = list->data[i];
        char text[24];
        uint32_t flags = 0;
        const char *value = is_unset ? mod_fcgate_value(entry, text) : param_value(entry, text, &flags);
        const char *name = is_unset ? value : entry->key.ptr;
        fcgate_error error;

        if (!value) {
            log_error(plugin->srv->errh, HERE, "%s: \"%s\" takes a string, or ( \"value\", \"if_not_empty\" )", place,
                      name);
            is_right = 0;
        }
        else if (set_param(plugin, balancer, level, name, is_unset ? NULL : value, flags, &error)
                 != FCGATE_OK) {
            log_error(plugin->srv->errh, HERE, "%s: %s", place, error.text);
            is_right = 0;
        }
    }
    return is_right;
}

/* ( "/srv/app" => "/var/www/html" ) as libfcgate has it: two words. */
int mod_fcgate_map_root(plugin_data *plugin, const data_unset *line, char text[1024], const char *place)
{
    const array *list = line->type == TYPE_ARRAY ? &((const data_array *)line)->value : NULL;
    char number[24];
    const char *to = list && list->used == 1 ? mod_fcgate_value(list->data[0], number) : NULL;
    int length = to && array_is_kvany(list) ? snprintf(text, 1024, "%s %s", list->data[0]->key.ptr, to) : -1;

    if (length < 0 || length >= 1024) {
        log_error(plugin->srv->errh, HERE,
                  "%s: write the directory here and what the application calls it: ( \"/srv/app\" => \"/var/www/html\" )",
                  place);
        return 0;
    }
    return 1;
}

/* ---- one line ---- */

static int refuse_unknown(plugin_data *plugin, const char *key, const char *place)
{
    const char *known[SETTINGS + OTHERS];
    char hint[160];

    for (size_t i = 0; i < SETTINGS; i++) {
        known[i] = settings[i].key;
    }
    memcpy(known + SETTINGS, others, sizeof others);
    log_error(plugin->srv->errh, HERE, "%s is nothing that mod_fcgate knows%s", place,
              mod_fcgate_hint(key, known, SETTINGS + OTHERS, hint));
    return 0;
}

/* A map is only looked at here: what it names may be declared later. */
static int read_map(plugin_data *plugin, part_t *part, const data_unset *line, const char *place)
{
    const array *map = line->type == TYPE_ARRAY ? &((const data_array *)line)->value : NULL;

    if (!map || !array_is_kvstring(map)) {
        log_error(plugin->srv->errh, HERE, "%s: write a list: ( \".php\" => \"BALANCER\" )", place);
        return 0;
    }
    for (uint32_t i = 0; i < map->used; i++) {
        const buffer *key = &map->data[i]->key;
        int is_extension = !buffer_is_blank(key) && key->ptr[0] == '.' && key->ptr[1] && !strchr(key->ptr, '/');

        if (!buffer_is_blank(key) && key->ptr[0] != '/' && !is_extension) {
            log_error(plugin->srv->errh, HERE,
                      "%s: \"%s\" is no extension (\".php\"), no prefix (\"/reports\"), and not \"\" for all", place,
                      key->ptr);
            return 0;
        }
    }
    part->map = map;
    return 1;
}

/* "" is for a condition that has no page where others have one. */
static int read_status_url(plugin_data *plugin, part_t *part, const data_unset *line, const char *place)
{
    const buffer *url = line->type == TYPE_STRING ? &((const data_string *)line)->value : NULL;

    if (!url || (!buffer_is_blank(url) && url->ptr[0] != '/')) {
        log_error(plugin->srv->errh, HERE, "%s: write the path of the page: \"/fcgate-status\"", place);
        return 0;
    }
    part->status_url = url;
    return 1;
}

static const stderr_level_t stderr_levels[] = {
    {"emerg", "emerg: "},     {"alert", "alert: "},   {"crit", "crit: "}, {"error", ""},        {"warn", "warning: "},
    {"warning", "warning: "}, {"notice", "notice: "}, {"info", "info: "}, {"debug", "debug: "}, {"off", NULL},
};
#define STDERR_LEVELS (sizeof stderr_levels / sizeof *stderr_levels)

static int read_log_stderr(plugin_data *plugin, part_t *part, const data_unset *line, const char *place)
{
    const char *words[STDERR_LEVELS];
    char number[24], hint[160];
    const char *value = mod_fcgate_value(line, number);

    for (size_t i = 0; i < STDERR_LEVELS; i++) {
        words[i] = stderr_levels[i].word;
        if (value && !strcmp(value, words[i])) {
            part->stderr_level = &stderr_levels[i];
            return 1;
        }
    }
    log_error(plugin->srv->errh, HERE, "%s: \"%s\" is no level (\"error\", \"warning\", \"notice\" ...), and not \"off\"%s",
              place, value ? value : "(...)", mod_fcgate_hint(value ? value : "", words, STDERR_LEVELS, hint));
    return 0;
}

static int read_setting(plugin_data *plugin, part_t *part, const data_unset *line, const setting_t *setting,
                        const char *place)
{
    const char *name = setting->key + OURS_LENGTH;
    char number[24], pair[1024];
    const char *value = mod_fcgate_value(line, number);
    fcgate_error error;

    /* Accepted, it would do nothing. */
    if (!strcmp(name, "document_root")) {
        log_error(plugin->srv->errh, HERE, "%s: lighttpd's own server.document-root and alias.url say where the files are",
                  place);
        return 0;
    }
    if (setting->scope == FCGATE_SCOPE_POOL || setting->scope == FCGATE_SCOPE_BALANCER) {
        log_error(plugin->srv->errh, HERE, "%s is a setting of %s: write \"%s\" => ... in fcgate.balancers", place,
                  setting->scope == FCGATE_SCOPE_POOL ? "pools" : "balancers", name);
        return 0;
    }
    if (!strcmp(name, "map_root")) {
        if (!mod_fcgate_map_root(plugin, line, pair, place)) {
            return 0;
        }
        value = pair;
    }
    if (!value) {
        log_error(plugin->srv->errh, HERE, "%s takes one value and no list", place);
        return 0;
    }
    if (fcgate_route_set(part->level, name, value, &error) != FCGATE_OK) {
        log_error(plugin->srv->errh, HERE, "%s: %s", place, error.text);
        return 0;
    }
    return 1;
}

static int read_line(plugin_data *plugin, part_t *part, const data_unset *line, const char *condition)
{
    const char *key = line->key.ptr;
    char place[512];
    fcgate_error error;

    snprintf(place, sizeof place, part->condition ? "%s in %s" : "%s", key, condition);
    if (!strcmp(key, OURS "balancers")) {
        if (part->condition == 0) {
            return mod_fcgate_read_balancers(plugin, line);
        }
        log_error(plugin->srv->errh, HERE, "%s: balancers are declared outside of all conditions", place);
        return 0;
    }
    if (!strcmp(key, OURS "map")) {
        return read_map(plugin, part, line, place);
    }
    if (!strcmp(key, OURS "status_url")) {
        return read_status_url(plugin, part, line, place);
    }
    if (!strcmp(key, OURS "log_stderr")) {
        return read_log_stderr(plugin, part, line, place);
    }
    if (!part->level) {
        part->level = fcgate_config_route(plugin->config, NULL, NULL, &error);
    }
    if (!strcmp(key, OURS "param") || !strcmp(key, OURS "param_unset")) {
        return mod_fcgate_set_params(plugin, line, NULL, part->level, place);
    }
    for (size_t i = 0; i < SETTINGS; i++) {
        if (!strcmp(settings[i].key, key)) {
            return read_setting(plugin, part, line, &settings[i], place);
        }
    }
    return refuse_unknown(plugin, key, place);
}

/* ---- the whole ---- */

/* Whether accesslog.format, or another line, has one of our variables: %{FCGATE_TIME}e */
static int has_note(const data_unset *line)
{
    const buffer *value = line->type == TYPE_STRING ? &((const data_string *)line)->value : NULL;

    return value && !buffer_is_blank(value) && strstr(value->ptr, "{FCGATE_") != NULL;
}

/* All is read, and all that is wrong told, in one go. */
static int read_parts(plugin_data *plugin)
{
    const server *srv = plugin->srv;
    const array *conditions = srv->config_context;
    int is_right = 1;

    for (uint32_t i = 0; i < conditions->used; i++) {
        const data_config *condition = (const data_config *)conditions->data[i];
        part_t part = {.condition = (int)i};

        for (uint32_t k = 0; k < condition->value->used; k++) {
            const data_unset *line = condition->value->data[k];

            plugin->notes_are_used |= has_note(line);
            if (!strncmp(line->key.ptr, OURS, OURS_LENGTH)) {
                array_set_key_value(srv->srvconf.config_touched, BUF_PTR_LEN(&line->key), CONST_STR_LEN(""));
                is_right &= read_line(plugin, &part, line, condition->key.ptr);
            }
        }
        if (part.level || part.map || part.status_url || part.stderr_level) {
            plugin->parts[plugin->part_count++] = part;
        }
    }
    return is_right;
}

static int check_maps(plugin_data *plugin)
{
    int is_right = 1;

    for (size_t i = 0; i < plugin->part_count; i++) {
        const array *map = plugin->parts[i].map;

        for (uint32_t k = 0; map && k < map->used; k++) {
            const data_string *entry = (const data_string *)map->data[k];
            const char *name = buffer_is_blank(&entry->value) ? "" : entry->value.ptr;

            is_right &= mod_fcgate_has_balancer(plugin, name, OURS "map");
        }
    }
    return is_right;
}

/* Levels that no line says: lighttpd's own settings, and what is usual with it. */
static int make_levels(plugin_data *plugin)
{
    fcgate_error error;

    plugin->base = fcgate_config_route(plugin->config, NULL, NULL, &error);
    plugin->streamed = fcgate_config_route(plugin->config, NULL, NULL, &error);
    plugin->laid_aside = fcgate_config_route(plugin->config, NULL, NULL, &error);
    if (!plugin->base || !plugin->streamed || !plugin->laid_aside
        || fcgate_route_set(plugin->laid_aside, "response_body", "spool", &error) != FCGATE_OK
        || fcgate_route_set(plugin->base, "pass_authorization", "on", &error) != FCGATE_OK
        || fcgate_route_set(plugin->streamed, "request_body", "stream", &error) != FCGATE_OK) {
        log_error(plugin->srv->errh, HERE, "%s", error.text);
        return 0;
    }
    return 1;
}

int mod_fcgate_read_config(plugin_data *plugin)
{
    fcgate_error error;

    plugin->config = fcgate_config_new();
    plugin->parts = ck_calloc(plugin->srv->config_context->used, sizeof *plugin->parts);
    if (!make_levels(plugin) || !read_parts(plugin) || !check_maps(plugin)) {
        return 0;
    }
    if (plugin->balancers
        && fcgate_config_check(plugin->config, mod_fcgate_log, plugin, &error) != FCGATE_OK) {
        log_error(plugin->srv->errh, HERE, "%s", error.text);
        return 0;
    }
    return 1;
}
