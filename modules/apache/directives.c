/*
 * The directives.
 *
 * Every value is checked by libfcgate as its line is read, so that Apache names file and line of what
 * is wrong. The settings of one section become one level (a fcgate_route without a balancer); which
 * levels overlap is known with each request only.
 */
#include "mod_fcgate.h"
#include "apr_lib.h"

APLOG_USE_MODULE(fcgate);

/* A setting of libfcgate's table, or one that a later version brings. */
typedef struct {
    const char *name;
    const char *directive;
    uint32_t scope;
} setting_t;

enum {
#define FCGATE_SETTING(name, Name, SCOPE, KIND, value, help) SETTING_##name,
#define FCGATE_LATER(name, Name) SETTING_##name,
#include "../settings.h"
    SETTING_COUNT
};

#define FCGATE_SCOPE_LATER 0
static const setting_t settings[] = {
#define FCGATE_SETTING(name, Name, SCOPE, KIND, value, help) {#name, "Fcgate" #Name, FCGATE_SCOPE_##SCOPE},
#define FCGATE_LATER(name, Name) {#name, "Fcgate" #Name, FCGATE_SCOPE_LATER},
#include "../settings.h"
};

/* A level that a .htaccess file can have: made before the fork, since nothing can be made after it. */
typedef struct {
    const setting_t *setting;
    const char *value;
    fcgate_route *level;
} spare_t;

static spare_t spares[] = {
    {&settings[SETTING_preset], "php", NULL},        {&settings[SETTING_preset], "plain", NULL},
    {&settings[SETTING_preset], "script", NULL},     {&settings[SETTING_error_override], "on", NULL},
    {&settings[SETTING_error_override], "off", NULL},
};

int mod_fcgate_make_spares(fcgate_error *error)
{
    for (size_t i = 0; i < sizeof spares / sizeof *spares; i++) {
        int32_t status;

        spares[i].level = fcgate_config_route(mod_fcgate_reading.config, NULL, NULL, error);
        if (!spares[i].level) {
            return error->status;
        }
        status = fcgate_route_set(spares[i].level, spares[i].setting->name, spares[i].value, error);
        if (status != FCGATE_OK) {
            return status;
        }
    }
    return FCGATE_OK;
}

static const spare_t *spare_of(const fcgate_route *level)
{
    for (size_t i = 0; i < sizeof spares / sizeof *spares; i++) {
        if (spares[i].level == level) {
            return &spares[i];
        }
    }
    return NULL;
}

int mod_fcgate_is_same_spare(const fcgate_route *one, const fcgate_route *other)
{
    const spare_t *first = spare_of(one), *second = spare_of(other);

    return first && second && first->setting == second->setting;
}

static const char *said(cmd_parms *cmd, const fcgate_error *error)
{
    return apr_pstrcat(cmd->pool, cmd->cmd->name, ": ", error->text, NULL);
}

static int in_htaccess(cmd_parms *cmd)
{
    return ap_check_cmd_context(cmd, NOT_IN_HTACCESS) != NULL;
}

/* ---- balancers and pools ---- */

/* What libfcgate calls a balancer. One of a virtual host exists only there, and another host may
 * have one of the same name: it carries the place of its host, which tells a reader of the log
 * whose it is. */
static const char *internal_name(cmd_parms *cmd, const char *name)
{
    const server_rec *server = cmd->server;
    const char *file, *slash;
    char *internal;

    if (!server->is_virtual) {
        return name;
    }
    file = server->defn_name ? server->defn_name : "vhost";
    slash = strrchr(file, '/');
    internal = apr_psprintf(cmd->pool, "%s@%s-%u", name, slash ? slash + 1 : file, server->defn_line_number);
    for (char *byte = internal + strlen(name) + 1; *byte; byte++) {
        if (!apr_isalnum(*byte) && !strchr("._-", *byte)) {
            *byte = '_';
        }
    }
    return internal;
}

/* NULL after an error, which is told. */
static balancer_t *declare_balancer(cmd_parms *cmd, const char *name, const char **wrong)
{
    server_config_t *server = ap_get_module_config(cmd->server->module_config, &fcgate_module);
    balancer_t *balancer = apr_pcalloc(cmd->pool, sizeof *balancer);
    fcgate_error error;

    if (mod_fcgate_reading.section) {
        *wrong = apr_pstrcat(cmd->pool, cmd->cmd->name, " can't stand in another <FcgateBalancer>", NULL);
        return NULL;
    }
    if (strchr(name, '@')) {
        *wrong = apr_psprintf(cmd->pool, "FcgateBalancer \"%s\": a name can't have @ in it", name);
        return NULL;
    }
    balancer->name = name;
    balancer->internal = internal_name(cmd, name);
    if (fcgate_config_balancer(mod_fcgate_reading.config, balancer->internal, &error) != FCGATE_OK) {
        *wrong = said(cmd, &error);
        return NULL;
    }
    apr_hash_set(server->balancers, name, APR_HASH_KEY_STRING, balancer);
    mod_fcgate_reading.balancers++;
    return balancer;
}

/* FcgateBalancer NAME ADDRESS name=value ... */
static const char *balancer_line(cmd_parms *cmd, void *directory, const char *arguments)
{
    const char *name = ap_getword_conf(cmd->pool, &arguments);
    const char *wrong;
    balancer_t *balancer;
    fcgate_error error;

    (void)directory;
    if (!*name || !*arguments) {
        return "FcgateBalancer takes a name and an address: FcgateBalancer php unix:/run/php/php-fpm.sock";
    }
    balancer = declare_balancer(cmd, name, &wrong);
    if (!balancer) {
        return wrong;
    }
    return fcgate_config_pool(mod_fcgate_reading.config, balancer->internal, arguments, &error) == FCGATE_OK ? NULL
                                                                                               : said(cmd, &error);
}

/* <FcgateBalancer NAME> */
static const char *balancer_section(cmd_parms *cmd, void *directory, const char *arguments)
{
    const char *end = strrchr(arguments, '>');
    const char *name, *rest, *wrong;
    balancer_t *balancer;

    (void)directory;
    if (!end) {
        return "<FcgateBalancer has no closing >";
    }
    rest = apr_pstrmemdup(cmd->pool, arguments, (apr_size_t)(end - arguments));
    name = ap_getword_conf(cmd->pool, &rest);
    if (!*name || *rest) {
        return "<FcgateBalancer NAME> takes one name; its pools stand in it: FcgatePool ADDRESS";
    }
    balancer = declare_balancer(cmd, name, &wrong);
    if (!balancer) {
        return wrong;
    }
    mod_fcgate_reading.section = balancer;
    wrong = ap_walk_config(cmd->directive->first_child, cmd, cmd->context);
    mod_fcgate_reading.section = NULL;
    if (!wrong && balancer->pools == 0) {
        return apr_psprintf(cmd->pool, "<FcgateBalancer %s> has no FcgatePool", name);
    }
    return wrong;
}

/* FcgatePool ADDRESS name=value ... [backup] */
static const char *pool_line(cmd_parms *cmd, void *directory, const char *arguments)
{
    fcgate_error error;

    (void)directory;
    if (!mod_fcgate_reading.section) {
        return "FcgatePool belongs into <FcgateBalancer NAME>";
    }
    mod_fcgate_reading.section->pools++;
    return fcgate_config_pool(mod_fcgate_reading.config, mod_fcgate_reading.section->internal, arguments, &error) == FCGATE_OK
               ? NULL
               : said(cmd, &error);
}

/* FcgateQueue length=500 timeout=5s */
static const char *queue_line(cmd_parms *cmd, void *directory, const char *arguments)
{
    fcgate_error error;

    (void)directory;
    if (!mod_fcgate_reading.section) {
        return "FcgateQueue belongs into <FcgateBalancer NAME>";
    }
    return fcgate_config_set(mod_fcgate_reading.config, mod_fcgate_reading.section->internal, "queue", arguments, &error) == FCGATE_OK
               ? NULL
               : said(cmd, &error);
}

/* FcgateMap .EXTENSION BALANCER */
static const char *map_line(cmd_parms *cmd, void *directory, const char *extension, const char *balancer)
{
    server_config_t *server = ap_get_module_config(cmd->server->module_config, &fcgate_module);
    map_t map = {extension, balancer, cmd->directive->filename, cmd->directive->line_num};

    (void)directory;
    if (mod_fcgate_reading.section) {
        return "FcgateMap stands beside a <FcgateBalancer>, not in it";
    }
    if (extension[0] != '.' || !extension[1] || strpbrk(extension + 1, "./")) {
        return apr_psprintf(cmd->pool, "FcgateMap: \"%s\" is no extension; write its dot and the last part: .php",
                            extension);
    }
    *(map_t *)apr_array_push(server->maps) = map;
    return NULL;
}

/* ---- settings ---- */

static const char *set_by_spare(cmd_parms *cmd, directory_config_t *directory, const setting_t *setting,
                                const char *value)
{
    for (size_t i = 0; i < sizeof spares / sizeof *spares; i++) {
        if (spares[i].setting == setting && !strcasecmp(spares[i].value, value)) {
            mod_fcgate_add_level(directory->levels, spares[i].level);
            return NULL;
        }
    }
    return apr_psprintf(cmd->pool, "%s: \"%s\" is not possible in a .htaccess file", cmd->cmd->name, value);
}

/* What Apache itself decides: accepted, such a line would do nothing. */
static const char *elsewhere(const setting_t *setting)
{
    static const struct {
        const setting_t *setting;
        const char *way;
    } ways[] = {
        {&settings[SETTING_document_root], "Apache's own DocumentRoot and Alias say where the files are"},
        {&settings[SETTING_index], "Apache's own DirectoryIndex says which file answers for a directory"},
        {&settings[SETTING_extension], "FcgateMap says which extension is a script's"},
    };

    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        if (ways[i].setting == setting) {
            return ways[i].way;
        }
    }
    return NULL;
}

static const char *set_setting(cmd_parms *cmd, void *directory, const char *value)
{
    const setting_t *setting = cmd->info;
    directory_config_t *config = directory;
    fcgate_error error;

    if (elsewhere(setting)) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name, ": ", elsewhere(setting), NULL);
    }
    if (mod_fcgate_reading.section) {
        return fcgate_config_set(mod_fcgate_reading.config, mod_fcgate_reading.section->internal, setting->name, value, &error) == FCGATE_OK
                   ? NULL
                   : said(cmd, &error);
    }
    if (setting->scope == FCGATE_SCOPE_POOL) {
        return apr_psprintf(cmd->pool, "%s is a setting of pools: write %s=%s on a FcgatePool or FcgateBalancer line,"
                            " or the directive into <FcgateBalancer>", cmd->cmd->name, setting->name, value);
    }
    if (setting->scope == FCGATE_SCOPE_BALANCER) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name, " belongs into <FcgateBalancer NAME>", NULL);
    }
    if (in_htaccess(cmd)) {
        return set_by_spare(cmd, config, setting, value);
    }
    if (!config->own) {
        config->own = fcgate_config_route(mod_fcgate_reading.config, NULL, NULL, &error);
        if (!config->own) {
            return said(cmd, &error);
        }
        APR_ARRAY_PUSH(config->levels, const fcgate_route *) = config->own;
    }
    return fcgate_route_set(config->own, setting->name, value, &error) == FCGATE_OK ? NULL : said(cmd, &error);
}

/* For settings of two words. */
static const char *set_pair(cmd_parms *cmd, void *directory, const char *first, const char *second)
{
    return set_setting(cmd, directory, apr_pstrcat(cmd->pool, first, " ", second, NULL));
}

/* For settings of one word or two. */
static const char *set_words(cmd_parms *cmd, void *directory, const char *first, const char *second)
{
    return second ? set_pair(cmd, directory, first, second) : set_setting(cmd, directory, first);
}

/* FcgateLogStderr LEVEL|off */
static const char *log_stderr(cmd_parms *cmd, void *directory, const char *level)
{
    directory_config_t *config = directory;

    if (mod_fcgate_reading.section) {
        return "FcgateLogStderr stands beside a <FcgateBalancer>, not in it";
    }
    if (!strcasecmp(level, "off")) {
        config->stderr_level = STDERR_OFF;
        return NULL;
    }
    return ap_parse_log_level(level, &config->stderr_level)
               ? apr_psprintf(cmd->pool, "FcgateLogStderr: \"%s\" is no level of LogLevel, and not off", level)
               : NULL;
}

/* ---- params ---- */

/* What an author of .htaccess files can't decide: it would reach beyond his directory. */
static int is_protected(const char *name)
{
    static const char *const names[] = {"PHP_VALUE",   "PHP_ADMIN_VALUE", "SCRIPT_FILENAME", "DOCUMENT_ROOT",
                                        "REMOTE_ADDR", "REMOTE_USER",     "AUTH_TYPE",       "HTTP_PROXY"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!strcmp(name, names[i])) {
            return 1;
        }
    }
    return !strncmp(name, "LD_", 3);
}

static const char *check_param(cmd_parms *cmd, const char *name)
{
    fcgate_error error;

    if (fcgate_param_check(name, &error) != FCGATE_OK) {
        return said(cmd, &error);
    }
    if (is_protected(name) && in_htaccess(cmd)) {
        return apr_psprintf(cmd->pool, "%s: %s can be set in the server's configuration only", cmd->cmd->name, name);
    }
    return NULL;
}

static const char *parse_expression(cmd_parms *cmd, const char *text, unsigned flags, const ap_expr_info_t **parsed)
{
    const char *wrong = NULL;

    if (in_htaccess(cmd)) {
        flags |= AP_EXPR_FLAG_RESTRICTED;
    }
    *parsed = ap_expr_parse_cmd(cmd, text, flags, &wrong, NULL);
    return *parsed ? NULL : apr_psprintf(cmd->pool, "FcgateParam: expression \"%s\": %s", text, wrong);
}

/* FcgateParam NAME value|expr=EXPRESSION [if_not_empty] [expr=CONDITION] */
static const char *param_line(cmd_parms *cmd, void *directory, const char *arguments)
{
    directory_config_t *config = directory;
    const char *words[8];
    int count = 0;
    param_t param = {0};
    const char *wrong;
    fcgate_error error;

    /* Apache's own splitting would lose an empty value at the end. */
    while (*arguments && count < (int)(sizeof words / sizeof *words)) {
        words[count++] = ap_getword_conf(cmd->pool, &arguments);
    }
    if (count < 2 || *arguments) {
        return "FcgateParam takes a name and a value, then if_not_empty or \"expr=CONDITION\"";
    }
    param.name = words[0];
    param.value = words[1];
    wrong = check_param(cmd, param.name);
    if (!wrong && !strncmp(param.value, "expr=", 5)) {
        wrong = parse_expression(cmd, param.value + 5, AP_EXPR_FLAG_STRING_RESULT, &param.expression);
    }
    for (int i = 2; i < count && !wrong; i++) {
        if (!strcasecmp(words[i], "if_not_empty")) {
            param.if_not_empty = 1;
        }
        else if (!strncmp(words[i], "expr=", 5) && !param.condition) {
            wrong = parse_expression(cmd, words[i] + 5, 0, &param.condition);
        }
        else {
            wrong = apr_psprintf(cmd->pool, "FcgateParam: \"%s\" is neither if_not_empty nor an \"expr=CONDITION\"",
                                 words[i]);
        }
    }
    if (wrong) {
        return wrong;
    }
    if (mod_fcgate_reading.section) {
        uint32_t flags = param.if_not_empty ? FCGATE_IF_NOT_EMPTY : 0;

        if (param.expression || param.condition) {
            return "FcgateParam: expr= is not possible in a <FcgateBalancer>; write it into the server or a section";
        }
        return fcgate_config_param(mod_fcgate_reading.config, mod_fcgate_reading.section->internal, param.name, param.value, flags, &error)
                       == FCGATE_OK
                   ? NULL
                   : said(cmd, &error);
    }
    *(param_t *)apr_array_push(config->params) = param;
    return NULL;
}

/* FcgateParamUnset NAME */
static const char *param_unset_line(cmd_parms *cmd, void *directory, const char *name)
{
    directory_config_t *config = directory;
    param_t param = {0};
    const char *wrong = check_param(cmd, name);
    fcgate_error error;

    if (wrong) {
        return wrong;
    }
    if (mod_fcgate_reading.section) {
        return fcgate_config_param_unset(mod_fcgate_reading.config, mod_fcgate_reading.section->internal, name, &error) == FCGATE_OK
                   ? NULL
                   : said(cmd, &error);
    }
    param.name = name;
    *(param_t *)apr_array_push(config->params) = param;
    return NULL;
}

/* ---- the table ---- */

#define ANYWHERE (RSRC_CONF | ACCESS_CONF)

/* Two settings stand in .htaccess files too, under AllowOverride FileInfo. */
#define WHERE(name) \
    (SETTING_##name == SETTING_preset || SETTING_##name == SETTING_error_override ? OR_FILEINFO : ANYWHERE)

#define TAKES_FLAG AP_INIT_TAKE1
#define TAKES_COUNT AP_INIT_TAKE1
#define TAKES_SIZE AP_INIT_TAKE1
#define TAKES_TIME AP_INIT_TAKE1
#define TAKES_CHOICE AP_INIT_TAKE1
#define TAKES_TEXT AP_INIT_TAKE1
#define TAKES_PATH AP_INIT_TAKE1
#define TAKES_PAIR AP_INIT_TAKE2
#define TAKES_WORDS AP_INIT_TAKE12
#define SETS_FLAG set_setting
#define SETS_COUNT set_setting
#define SETS_SIZE set_setting
#define SETS_TIME set_setting
#define SETS_CHOICE set_setting
#define SETS_TEXT set_setting
#define SETS_PATH set_setting
#define SETS_PAIR set_pair
#define SETS_WORDS set_words

const command_rec mod_fcgate_commands[] = {
    AP_INIT_RAW_ARGS("<FcgateBalancer", balancer_section, NULL, RSRC_CONF,
                     "Declares a balancer of several pools: <FcgateBalancer NAME> FcgatePool ... </FcgateBalancer>"),
    AP_INIT_RAW_ARGS("FcgateBalancer", balancer_line, NULL, RSRC_CONF,
                     "Declares a balancer of one pool: NAME ADDRESS name=value ..."),
    AP_INIT_RAW_ARGS("FcgatePool", pool_line, NULL, RSRC_CONF,
                     "Adds a pool to the balancer: ADDRESS name=value ... [backup]"),
    AP_INIT_RAW_ARGS("FcgateQueue", queue_line, NULL, RSRC_CONF,
                     "Sets queue_length and queue_timeout of the balancer's pools: length=NUMBER timeout=TIME"),
    AP_INIT_TAKE2("FcgateMap", map_line, NULL, RSRC_CONF,
                  "Files with this last extension are answered by a balancer: .EXTENSION BALANCER"),
    AP_INIT_RAW_ARGS("FcgateParam", param_line, NULL, OR_FILEINFO,
                     "Sets a param: NAME value|\"expr=EXPRESSION\" [if_not_empty] [\"expr=CONDITION\"]"),
    AP_INIT_TAKE1("FcgateParamUnset", param_unset_line, NULL, OR_FILEINFO, "Removes a param: NAME"),
    AP_INIT_TAKE1("FcgateLogStderr", log_stderr, NULL, ANYWHERE,
                  "The level at which what applications write to their standard error is logged, or off"),
#define FCGATE_SETTING(name, Name, SCOPE, KIND, value, help) \
    TAKES_##KIND("Fcgate" #Name, SETS_##KIND, (void *)&settings[SETTING_##name], WHERE(name), help),
#define FCGATE_LATER(name, Name)                                                                     \
    AP_INIT_RAW_ARGS("Fcgate" #Name, set_setting, (void *)&settings[SETTING_##name], ANYWHERE,       \
                     "Comes with a later version."),
#include "../settings.h"
    {NULL}};

const char *mod_fcgate_nearest_directive(const char *name)
{
    const char *names[sizeof mod_fcgate_commands / sizeof *mod_fcgate_commands];
    size_t count = 0;

    for (const command_rec *command = mod_fcgate_commands; command->name; command++) {
        names[count++] = command->name[0] == '<' ? command->name + 1 : command->name;
    }
    return fcgate_nearest(name, names, count);
}

int mod_fcgate_is_directive(const char *name)
{
    for (const command_rec *command = mod_fcgate_commands; command->name; command++) {
        if (!strcasecmp(command->name, name)) {
            return 1;
        }
    }
    return 0;
}
