/*
 * fcgate.balancers: names, and for each its pools and settings, or the one address that it is.
 */
#include "mod_fcgate.h"

#include <stdio.h>
#include <string.h>

#define LIST "fcgate.balancers"

static const array *list_of(const data_unset *line)
{
    return line->type == TYPE_ARRAY ? &((const data_array *)line)->value : NULL;
}

/* What fastcgi.server has in place of an address. */
static const char *in_place_of(const data_unset *line)
{
    if (buffer_eq_slen(&line->key, CONST_STR_LEN("socket"))) {
        return "\"unix:/path/of/the/socket\"";
    }
    if (buffer_eq_slen(&line->key, CONST_STR_LEN("host")) || buffer_eq_slen(&line->key, CONST_STR_LEN("port"))) {
        return "\"host:port\"";
    }
    return NULL;
}

static int refuse_old_words(plugin_data *plugin, const data_unset *line, const char *place)
{
    const char *address = in_place_of(line);

    if (address) {
        log_error(plugin->srv->errh, HERE,
                  "%s: \"%s\" is no setting; a pool is named by its address: \"pools\" => ( %s => ( ... ) )", place,
                  line->key.ptr, address);
    }
    return address != NULL;
}

/* Adds a word to a pool's line, in quotes. */
static int add_word(char *text, size_t size, const char *name, const char *value)
{
    size_t length = strlen(text);
    int added = snprintf(text + length, size - length, " %s=\"", name);

    length += (size_t)(added > 0 ? added : 0);
    for (; *value && length + 4 < size; value++) {
        if (*value == '"' || *value == '\\') {
            text[length++] = '\\';
        }
        text[length++] = *value;
    }
    if (*value || length + 2 >= size) {
        return 0;
    }
    memcpy(text + length, "\"", 2);
    return 1;
}

/* "ADDRESS" => ( "weight" => 2 ), as libfcgate has it: a line of words. */
static int read_pool(plugin_data *plugin, const char *balancer, const data_unset *pool, const char *place)
{
    const array *settings = list_of(pool);
    const char *address = buffer_is_unset(&pool->key) ? NULL : pool->key.ptr;
    char line[4096], number[24];
    fcgate_error error;

    /* ( "ADDRESS" ): one without settings of its own. */
    if (!settings && !address) {
        address = mod_fcgate_value(pool, number);
    }
    else if (!settings) {
        if (!refuse_old_words(plugin, pool, place)) {
            log_error(plugin->srv->errh, HERE, "%s: write the settings of a pool as a list: \"%s\" => ( \"weight\" => 2 )",
                      place, address);
        }
        return 0;
    }
    if (!address) {
        log_error(plugin->srv->errh, HERE, "%s: a pool is named by its address: \"unix:/path\" or \"host:port\"", place);
        return 0;
    }
    snprintf(line, sizeof line, "%s", address);
    for (uint32_t i = 0; settings && i < settings->used; i++) {
        const data_unset *setting = settings->data[i];
        const char *value = mod_fcgate_value(setting, number);

        if (refuse_old_words(plugin, setting, place)) {
            return 0;
        }
        if (buffer_is_unset(&setting->key) || !value || !add_word(line, sizeof line, setting->key.ptr, value)) {
            log_error(plugin->srv->errh, HERE, "%s: \"%s\": write its settings as \"name\" => \"value\"", place, address);
            return 0;
        }
    }
    if (fcgate_config_pool(plugin->config, balancer, line, &error) != FCGATE_OK) {
        log_error(plugin->srv->errh, HERE, "%s: %s", place, error.text);
        return 0;
    }
    return 1;
}

static int read_pools(plugin_data *plugin, const char *balancer, const data_unset *line, const char *place)
{
    const array *pools = list_of(line);
    int is_right = 1;

    if (!pools || pools->used == 0) {
        log_error(plugin->srv->errh, HERE, "%s: \"pools\" is a list: ( \"unix:/path\" => ( ... ), \"host:port\" => ( ... ) )",
                  place);
        return 0;
    }
    for (uint32_t i = 0; i < pools->used; i++) {
        is_right &= read_pool(plugin, balancer, pools->data[i], place);
    }
    return is_right;
}

static int read_setting(plugin_data *plugin, const char *balancer, const data_unset *line, const char *place)
{
    char number[24], pair[1024];
    const char *value = mod_fcgate_value(line, number);
    fcgate_error error;

    if (buffer_eq_slen(&line->key, CONST_STR_LEN("map_root"))) {
        if (!mod_fcgate_map_root(plugin, line, pair, place)) {
            return 0;
        }
        value = pair;
    }
    if (!value) {
        log_error(plugin->srv->errh, HERE, "%s: \"%s\" takes one value and no list; pools stand in \"pools\" => ( ... )",
                  place, line->key.ptr);
        return 0;
    }
    if (fcgate_config_set(plugin->config, balancer, line->key.ptr, value, &error) != FCGATE_OK) {
        log_error(plugin->srv->errh, HERE, "%s: %s", place, error.text);
        return 0;
    }
    return 1;
}

static int read_entry(plugin_data *plugin, const char *balancer, const data_unset *line, const char *place)
{
    if (buffer_is_unset(&line->key)) {
        log_error(plugin->srv->errh, HERE, "%s: write \"pools\" => ( ... ) and settings as \"name\" => \"value\"", place);
        return 0;
    }
    if (refuse_old_words(plugin, line, place)) {
        return 0;
    }
    if (buffer_eq_slen(&line->key, CONST_STR_LEN("pools"))) {
        return read_pools(plugin, balancer, line, place);
    }
    if (buffer_eq_slen(&line->key, CONST_STR_LEN("param"))
        || buffer_eq_slen(&line->key, CONST_STR_LEN("param_unset"))) {
        return mod_fcgate_set_params(plugin, line, balancer, NULL, place);
    }
    return read_setting(plugin, balancer, line, place);
}

static int read_balancer(plugin_data *plugin, const data_unset *line)
{
    const array *entries = list_of(line);
    const char *name = line->key.ptr;
    char place[256], number[24];
    const char *address = mod_fcgate_value(line, number);
    int is_right = 1, has_pools = 0;
    fcgate_error error;

    snprintf(place, sizeof place, LIST ", \"%s\"", name);
    if (fcgate_config_balancer(plugin->config, name, &error) != FCGATE_OK
        || (address && fcgate_config_pool(plugin->config, name, address, &error) != FCGATE_OK)) {
        log_error(plugin->srv->errh, HERE, "%s: %s", place, error.text);
        return 0;
    }
    for (uint32_t i = 0; entries && i < entries->used; i++) {
        has_pools |= buffer_eq_slen(&entries->data[i]->key, CONST_STR_LEN("pools"));
        is_right &= read_entry(plugin, name, entries->data[i], place);
    }
    if (is_right && !address && !has_pools) {
        log_error(plugin->srv->errh, HERE, "%s has no \"pools\" => ( \"unix:/path\" => ( ... ) )", place);
        return 0;
    }
    return is_right;
}

int mod_fcgate_read_balancers(plugin_data *plugin, const data_unset *line)
{
    const array *list = list_of(line);
    int is_right = 1;

    if (!list || !array_is_kvany(list)) {
        log_error(plugin->srv->errh, HERE, LIST ": write a list: ( \"php\" => \"unix:/run/php/php-fpm.sock\" )");
        return 0;
    }
    for (uint32_t i = 0; i < list->used; i++) {
        is_right &= read_balancer(plugin, list->data[i]);
    }
    if (list->used > 0) {
        plugin->balancers = list;
    }
    return is_right;
}

int mod_fcgate_has_balancer(plugin_data *plugin, const char *name, const char *place)
{
    const array *list = plugin->balancers;
    size_t count = list ? list->used : 0;
    const char *names[count + 1];
    char hint[160];

    for (size_t i = 0; i < count; i++) {
        names[i] = list->data[i]->key.ptr;
        if (!strcmp(names[i], name)) {
            return 1;
        }
    }
    mod_fcgate_hint(name, names, count, hint);
    if (!hint[0] && strpbrk(name, ":/")) {
        snprintf(hint, sizeof hint, "; an address can't stand here: declare it in " LIST " and write its name");
    }
    else if (!hint[0] && count == 0) {
        snprintf(hint, sizeof hint, "; " LIST " declares none at all");
    }
    log_error(plugin->srv->errh, HERE, "%s: no balancer \"%s\" is declared%s", place, name, hint);
    return 0;
}
