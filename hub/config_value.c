#include "hub/config_value.h"

#include "core/base/memory.h"
#include "core/base/utf8.h"
#include "net/listener.h"

static void *field_of(const struct config *config, const struct config_option *option)
{
    return (char *)config + option->offset;
}

static bool kind_is_number(enum config_kind kind)
{
    return kind <= CONFIG_KIND_MILLISECONDS;
}

static bool kind_is_list(enum config_kind kind)
{
    return kind == CONFIG_KIND_LIST || kind == CONFIG_KIND_MAP;
}

bool config_list_append(struct config_list *list, struct span item)
{
    if (list->count == CONFIG_LIST_COUNT_MAX) {
        return false;
    }
    if (list->items == NULL) {
        /* The whole table at once: lists are few, and a pointer costs nothing. */
        list->items = memory_calloc(CONFIG_LIST_COUNT_MAX, sizeof(list->items[0]));
        if (list->items == NULL) {
            return false;
        }
    }
    char *copy = memory_copy(item);
    if (copy == NULL) {
        return false;
    }
    list->items[list->count++] = copy;
    return true;
}

void config_list_fini(struct config_list *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        memory_free(list->items[i]);
    }
    memory_free(list->items);
    *list = (struct config_list){0};
}

bool config_value_open(struct config *config, const struct config_option *option,
                       struct config_origin origin)
{
    struct config_origin *held = &config->origins[config_option_index(option)];
    if (held->source > origin.source) {
        return false;
    }
    if (held->source < origin.source) {
        config_value_clear(config, option);
        *held = origin;
    }
    return true;
}

/* Digits, and the rest behind them. False: there are none, or they are past 64 bits. */
static bool digits_take(struct span text, uint64_t *ret_number, struct span *ret_rest)
{
    uint64_t number = 0;
    size_t at = 0;
    for (; at < text.len && text.bytes[at] >= '0' && text.bytes[at] <= '9'; at++) {
        uint64_t digit = (uint64_t)(text.bytes[at] - '0');
        if (__builtin_mul_overflow(number, (uint64_t)10, &number) ||
            __builtin_add_overflow(number, digit, &number)) {
            return false;
        }
    }
    *ret_number = number;
    *ret_rest = span_make(text.bytes + at, text.len - at);
    return at > 0;
}

struct unit {
    const char *name;
    uint64_t factor;
};

/* What a unit multiplies by; for seconds and milliseconds in milliseconds. NULL name ends a list.
 */
static const struct unit units_of_bytes[] = {
    {"B", 1},  {"KiB", 1ULL << 10}, {"MiB", 1ULL << 20}, {"GiB", 1ULL << 30}, {"TiB", 1ULL << 40},
    {NULL, 0},
};
static const struct unit units_of_time[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {NULL, 0},
};

/* Applies the unit, or for a plain number the one the option is in. */
static bool number_scale(const struct config_option *option, struct span unit, uint64_t *number,
                         struct buffer *problem)
{
    if (unit.len == 0) {
        return true;
    }
    const struct unit *units = option->kind == CONFIG_KIND_BYTES ? units_of_bytes : units_of_time;
    const struct unit *found = NULL;
    for (const struct unit *u = units; option->kind != CONFIG_KIND_COUNT && u->name != NULL; u++) {
        found = span_is_nocase(unit, u->name) ? u : found;
    }
    if (found == NULL) {
        buffer_append_string(problem, option->kind == CONFIG_KIND_COUNT ? "must be a plain number"
                                      : option->kind == CONFIG_KIND_BYTES
                                          ? "has an unknown unit (B, KiB, MiB, GiB)"
                                          : "has an unknown unit (ms, s, m, h, d)");
        return false;
    }
    if (__builtin_mul_overflow(*number, found->factor, number)) {
        *number = UINT64_MAX; /* out of every range */
        return true;
    }
    if (option->kind == CONFIG_KIND_SECONDS) {
        if (*number % 1000 != 0) {
            buffer_append_string(problem, "must be whole seconds");
            return false;
        }
        *number /= 1000;
    }
    return true;
}

static bool number_parse(const struct config_option *option, struct span text, uint64_t *ret_number,
                         struct buffer *problem)
{
    uint64_t number;
    struct span unit;
    if (text.len > 0 && text.bytes[0] == '-') {
        buffer_append_string(problem, "must not be negative");
        return false;
    }
    if (!digits_take(text, &number, &unit)) {
        buffer_append_string(problem, "must be a number");
        return false;
    }
    if (!number_scale(option, unit, &number, problem)) {
        return false;
    }
    if (number < option->min || number > option->max) {
        buffer_append_string(problem, "must be from ");
        config_number_print(option, option->min, problem);
        buffer_append_string(problem, " to ");
        config_number_print(option, option->max, problem);
        return false;
    }
    if ((option->flags & CONFIG_POWER_OF_TWO) != 0 && (number & (number - 1)) != 0) {
        buffer_append_string(problem, "must be a power of two");
        return false;
    }
    *ret_number = number;
    return true;
}

static bool number_set(struct config *config, const struct config_option *option, struct span text,
                       struct buffer *problem)
{
    uint64_t number;
    if (!number_parse(option, text, &number, problem)) {
        return false;
    }
    if (config == NULL) {
        return true;
    }
    if (option->field_size == sizeof(uint64_t)) {
        memcpy(field_of(config, option), &number, sizeof(number));
    } else {
        CHECK(option->field_size == sizeof(uint32_t));
        CHECK(number <= UINT32_MAX);
        uint32_t narrow = (uint32_t)number;
        memcpy(field_of(config, option), &narrow, sizeof(narrow));
    }
    return true;
}

static bool choice_set(struct config *config, const struct config_option *option, struct span text,
                       struct buffer *problem)
{
    for (uint32_t i = 0; option->words[i] != NULL; i++) {
        if (span_is(text, option->words[i])) {
            if (config != NULL) {
                memcpy(field_of(config, option), &i, sizeof(i));
            }
            return true;
        }
    }
    buffer_append_string(problem, "must be one of ");
    for (uint32_t i = 0; option->words[i] != NULL; i++) {
        buffer_printf(problem, "%s%s", i == 0 ? "" : ", ", option->words[i]);
    }
    return false;
}

/* A text, or one more item of a list. */
static bool text_set(struct config *config, const struct config_option *option, struct span text,
                     struct buffer *problem)
{
    const char *wrong = NULL;
    char *copy = NULL;
    if (text.len > 0 && memchr(text.bytes, '\0', text.len) != NULL) {
        wrong = "must not contain a NUL byte";
    } else if (!utf8_is_valid(text)) {
        wrong = "must be valid UTF-8";
    } else {
        copy = memory_copy(text);
        wrong = copy == NULL ? "no memory" : option->check == NULL ? NULL : option->check(copy);
    }
    if (wrong == NULL && config != NULL && kind_is_list(option->kind)) {
        struct config_list *list = field_of(config, option);
        if (!config_list_append(list, text)) {
            wrong = list->count == CONFIG_LIST_COUNT_MAX ? "has too many values" : "no memory";
        }
    } else if (wrong == NULL && config != NULL) {
        config_value_clear(config, option);
        memcpy(field_of(config, option), &copy, sizeof(copy));
        copy = NULL;
    }
    memory_free(copy);
    if (wrong != NULL) {
        buffer_append_string(problem, wrong);
    }
    return wrong == NULL;
}

bool config_value_set(struct config *config, const struct config_option *option, struct span text,
                      struct buffer *problem)
{
    if (kind_is_number(option->kind)) {
        return number_set(config, option, text, problem);
    }
    if (option->kind == CONFIG_KIND_CHOICE) {
        return choice_set(config, option, text, problem);
    }
    CHECK(option->kind != CONFIG_KIND_COMMAND);
    return text_set(config, option, text, problem);
}

bool config_value_set_items(struct config *config, const struct config_option *option,
                            struct span text, struct buffer *problem)
{
    CHECK(kind_is_list(option->kind));
    size_t at = 0;
    while (at < text.len) {
        const char *comma = memchr(text.bytes + at, ',', text.len - at);
        size_t end = comma == NULL ? text.len : (size_t)(comma - text.bytes);
        if (!config_value_set(config, option, span_make(text.bytes + at, end - at), problem)) {
            return false;
        }
        at = end + 1;
    }
    return true;
}

void config_value_clear(struct config *config, const struct config_option *option)
{
    if (kind_is_list(option->kind)) {
        config_list_fini(field_of(config, option));
    } else if (option->kind == CONFIG_KIND_TEXT) {
        char *text;
        memcpy(&text, field_of(config, option), sizeof(text));
        memory_free(text);
    }
    memset(field_of(config, option), 0, option->field_size);
}

void config_value_move(struct config *to, struct config *from, const struct config_option *option)
{
    config_value_clear(to, option);
    memcpy(field_of(to, option), field_of(from, option), option->field_size);
    memset(field_of(from, option), 0, option->field_size);
}

bool config_value_copy(struct config *to, const struct config *from,
                       const struct config_option *option)
{
    config_value_clear(to, option);
    if (kind_is_list(option->kind)) {
        const struct config_list *list = field_of(from, option);
        for (uint32_t i = 0; i < list->count; i++) {
            if (!config_list_append(field_of(to, option), span_of(list->items[i]))) {
                return false;
            }
        }
    } else if (option->kind == CONFIG_KIND_TEXT) {
        char *text;
        memcpy(&text, field_of(from, option), sizeof(text));
        char *copy = memory_copy(span_of(text));
        memcpy(field_of(to, option), &copy, sizeof(copy));
        return copy != NULL;
    } else {
        memcpy(field_of(to, option), field_of(from, option), option->field_size);
    }
    return true;
}

bool config_value_equal(const struct config *a, const struct config *b,
                        const struct config_option *option)
{
    if (kind_is_list(option->kind)) {
        const struct config_list *x = field_of(a, option);
        const struct config_list *y = field_of(b, option);
        bool equal = x->count == y->count;
        for (uint32_t i = 0; equal && i < x->count; i++) {
            equal = strcmp(x->items[i], y->items[i]) == 0;
        }
        return equal;
    }
    if (option->kind == CONFIG_KIND_TEXT) {
        char *x;
        char *y;
        memcpy(&x, field_of(a, option), sizeof(x));
        memcpy(&y, field_of(b, option), sizeof(y));
        return strcmp(x, y) == 0;
    }
    return memcmp(field_of(a, option), field_of(b, option), option->field_size) == 0;
}

void config_number_print(const struct config_option *option, uint64_t number, struct buffer *text)
{
    const char *suffix = "";
    if (option->kind == CONFIG_KIND_BYTES && number > 0) {
        for (const struct unit *unit = units_of_bytes; unit->name != NULL; unit++) {
            if (number % 1024 != 0) {
                break;
            }
            number /= 1024;
            suffix = unit[1].name;
        }
    }
    buffer_append_u64(text, number);
    buffer_append_string(text, suffix);
}

static void quoted_print(struct span value, struct buffer *text)
{
    buffer_append_string(text, "\"");
    buffer_append_json(text, value);
    buffer_append_string(text, "\"");
}

static void list_print(const struct config_list *list, bool is_map, struct buffer *text)
{
    buffer_append_string(text, is_map ? "{" : "[");
    for (uint32_t i = 0; i < list->count; i++) {
        const char *item = list->items[i];
        buffer_append_string(text, i == 0 ? "" : ", ");
        const char *equals = is_map ? strchr(item, '=') : NULL;
        if (equals != NULL) {
            quoted_print(span_make(item, (size_t)(equals - item)), text);
            buffer_append_string(text, ": ");
            item = equals + 1;
        }
        quoted_print(span_of(item), text);
    }
    buffer_append_string(text, is_map ? "}" : "]");
}

void config_value_print(const struct config *config, const struct config_option *option,
                        struct buffer *text)
{
    if (kind_is_number(option->kind)) {
        uint64_t number = 0;
        if (option->field_size == sizeof(number)) {
            memcpy(&number, field_of(config, option), sizeof(number));
        } else {
            uint32_t narrow;
            memcpy(&narrow, field_of(config, option), sizeof(narrow));
            number = narrow;
        }
        config_number_print(option, number, text);
    } else if (option->kind == CONFIG_KIND_CHOICE) {
        uint32_t word;
        memcpy(&word, field_of(config, option), sizeof(word));
        buffer_append_string(text, option->words[word]);
    } else if (option->kind == CONFIG_KIND_TEXT) {
        char *value;
        memcpy(&value, field_of(config, option), sizeof(value));
        quoted_print(span_of(value), text);
    } else {
        list_print(field_of(config, option), option->kind == CONFIG_KIND_MAP, text);
    }
}

bool config_listen_is_tls(const char *text)
{
    return strncmp(text, "tls:", CONFIG_LISTEN_TLS_LEN) == 0;
}

const char *config_check_listen(const char *text)
{
    struct listener_address address;
    const char *problem = NULL;
    text += config_listen_is_tls(text) ? CONFIG_LISTEN_TLS_LEN : 0;
    if (listener_parse(text, &address, &problem) < 0) {
        return problem == NULL ? "is not an address" : problem;
    }
    return NULL;
}

const char *config_cpus_parse(const char *text, uint16_t *ret_cpus, uint32_t *ret_count)
{
    uint32_t count = 0;
    struct span rest = span_of(text);
    while (rest.len > 0) {
        uint64_t first;
        uint64_t last;
        if (!digits_take(rest, &first, &rest)) {
            return "must be CPU numbers such as 0-3,8";
        }
        last = first;
        if (rest.len > 0 && rest.bytes[0] == '-' &&
            !digits_take(span_make(rest.bytes + 1, rest.len - 1), &last, &rest)) {
            return "must be CPU numbers such as 0-3,8";
        }
        if (last < first || last >= CONFIG_CPU_COUNT_MAX) {
            return "has a range that ends before it begins, or a CPU above 1023";
        }
        for (uint64_t cpu = first; cpu <= last; cpu++) {
            if (count == CONFIG_CPU_COUNT_MAX) {
                return "names more than 1024 CPUs";
            }
            ret_cpus[count++] = (uint16_t)cpu;
        }
        if (rest.len > 0 && (rest.bytes[0] != ',' || rest.len == 1)) {
            return "must be CPU numbers such as 0-3,8";
        }
        rest = rest.len > 0 ? span_make(rest.bytes + 1, rest.len - 1) : rest;
    }
    *ret_count = count;
    return NULL;
}

const char *config_check_cpus(const char *text)
{
    uint16_t cpus[CONFIG_CPU_COUNT_MAX];
    uint32_t count;
    return config_cpus_parse(text, cpus, &count);
}

/* Browsers send the ASCII serialisation of an origin in lower case (RFC 6454, 6.2): compared as
 * bytes. */
const char *config_check_origin(const char *text)
{
    static const char wrong[] =
        "must be * or an origin such as https://example.org[:PORT], in lower "
        "case and without a path";
    if (strcmp(text, "*") == 0) {
        return NULL;
    }
    const char *scheme_end = strstr(text, "://");
    if (scheme_end == NULL || scheme_end == text || scheme_end[3] == '\0') {
        return wrong;
    }
    for (const char *c = text; *c != '\0'; c++) {
        bool in_scheme_end = c >= scheme_end && c < scheme_end + 3;
        bool legal =
            (*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || strchr("-._~:[]+%", *c) != NULL;
        if (!legal && !in_scheme_end) {
            return wrong;
        }
    }
    return NULL;
}

const char *config_check_alias(const char *text)
{
    const char *equals = strchr(text, '=');
    if (text[0] != '/' || equals == NULL) {
        return "must be /PATH=CHANNEL";
    }
    for (const char *c = text; c < equals; c++) {
        if (*c <= ' ' || *c > '~' || *c == '?' || *c == '#' || *c == '%') {
            return "has a character in its path that does not belong there";
        }
    }
    const char *channel = equals + 1;
    size_t len = strlen(channel);
    if (len == 0 || len > 255) {
        return "needs a channel name of 1 to 255 bytes";
    }
    for (const char *c = channel; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f) {
            return "has a control character in the channel name";
        }
    }
    if (channel[0] == '$' || strcmp(channel, "broadcast") == 0) {
        return "names a channel that the hub keeps for itself";
    }
    return NULL;
}

/* ---- Rules by channel name ------------------------------------------------------------------- */

/* One of the numbers of a rule: in the units and the range of an option of its own. */
static bool rule_number(const char *name, struct span text, uint64_t *ret_number)
{
    struct buffer problem;
    buffer_init(&problem, 1024);
    bool ok = number_parse(config_option_find(span_of(name)), text, ret_number, &problem);
    buffer_fini(&problem);
    return ok;
}

/*
 * Takes NAME=a/b/c apart, from behind: the name may hold anything, the values neither `=` nor `/`.
 * Returns how many values there are; 0 if there is no name, or more values than `max`.
 */
static unsigned rule_split(const char *text, struct span *ret_pattern, struct span ret_values[],
                           unsigned max)
{
    const char *equals = strrchr(text, '=');
    if (equals == NULL || equals == text || equals - text > CHANNEL_NAME_LEN_MAX + 1) {
        return 0;
    }
    *ret_pattern = span_make(text, (size_t)(equals - text));
    const char *begin = equals + 1;
    for (unsigned count = 1; count <= max; count++) {
        const char *end = strchr(begin, '/');
        if (end == NULL) {
            ret_values[count - 1] = span_of(begin);
            return count;
        }
        ret_values[count - 1] = span_make(begin, (size_t)(end - begin));
        begin = end + 1;
    }
    return 0;
}

const char *config_history_rule_parse(const char *text, struct config_history_rule *ret_rule)
{
    struct span values[3];
    if (rule_split(text, &ret_rule->pattern, values, countof(values)) != countof(values)) {
        return "must be NAME=EVENTS/BYTES/AGE, such as chat.*=100/1MiB/1h";
    }
    if (!rule_number("history_count", values[0], &ret_rule->count)) {
        return "has a number of events that cannot be read or is out of range";
    }
    if (!rule_number("history_bytes", values[1], &ret_rule->bytes)) {
        return "has a number of bytes that cannot be read or is out of range";
    }
    if (!rule_number("history_seconds", values[2], &ret_rule->seconds)) {
        return "has an age that cannot be read or is out of range";
    }
    return NULL;
}

const char *config_check_history_rule(const char *text)
{
    struct config_history_rule rule;
    return config_history_rule_parse(text, &rule);
}

const char *config_lag_rule_parse(const char *text, struct config_lag_rule *ret_rule)
{
    static const char shape[] = "must be NAME=skip/BYTES/AGE, NAME=disconnect/BYTES/AGE or "
                                "NAME=catch-up, such as ticker.*=skip/256KiB/5s";
    struct span values[3];
    unsigned count = rule_split(text, &ret_rule->pattern, values, countof(values));
    ret_rule->policy = LAG_CATCH_UP;
    ret_rule->bytes = 0;
    ret_rule->seconds = 0;
    if (count == 1 && span_is(values[0], "catch-up")) {
        return NULL;
    }
    if (count == countof(values) && span_is(values[0], "skip")) {
        ret_rule->policy = LAG_SKIP;
    } else if (count == countof(values) && span_is(values[0], "disconnect")) {
        ret_rule->policy = LAG_DISCONNECT;
    } else {
        return shape;
    }
    if (!rule_number("history_bytes", values[1], &ret_rule->bytes)) {
        return "has a number of bytes that cannot be read or is out of range";
    }
    if (!rule_number("history_seconds", values[2], &ret_rule->seconds)) {
        return "has an age that cannot be read or is out of range";
    }
    if (ret_rule->bytes == 0 && ret_rule->seconds == 0) {
        return "sets no limit: 0 is none, and at least one is needed";
    }
    return NULL;
}

const char *config_check_lag_rule(const char *text)
{
    struct config_lag_rule rule;
    return config_lag_rule_parse(text, &rule);
}

const char *config_cloudevent_rule_parse(const char *text, struct config_cloudevent_rule *ret_rule)
{
    struct span values[1];
    bool is_rule = rule_split(text, &ret_rule->pattern, values, countof(values)) == 1;
    ret_rule->is_data_only = is_rule && span_is(values[0], "data");
    return ret_rule->is_data_only || (is_rule && span_is(values[0], "event"))
               ? NULL
               : "must be NAME=event or NAME=data, such as chat.*=data";
}

const char *config_check_cloudevent_rule(const char *text)
{
    struct config_cloudevent_rule rule;
    return config_cloudevent_rule_parse(text, &rule);
}
