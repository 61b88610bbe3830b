#include "hub/config_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
/*
 * libyaml's document API rather than libcyaml, which maps a file onto structs by a schema of its
 * own: here one table already serves the flags, the variables, the file and the documentation, and
 * a second schema beside it would drift.
 */
#include <yaml.h>

#include "hub/config_value.h"

/* One file being read. */
struct config_file {
    struct config *config;
    const char *path;
    yaml_document_t *document;
    struct buffer *message;
    bool bad;
};

/* Reads a whole file of bounded size; on failure the message says why. */
static bool file_read(const char *path, struct buffer *content, struct buffer *message)
{
    const char *wrong = NULL;
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        wrong = strerror(errno);
    } else if (fstat(fd, &status) < 0 || S_ISDIR(status.st_mode)) {
        wrong = "is a directory";
    }
    while (wrong == NULL) {
        char chunk[4096];
        ssize_t got = read(fd, chunk, sizeof(chunk));
        if (got == 0) {
            break;
        }
        if (got < 0) {
            wrong = errno == EINTR ? NULL : strerror(errno);
            continue;
        }
        buffer_append(content, chunk, (size_t)got);
        explicit_bzero(chunk, sizeof(chunk));
        wrong = content->failed ? "is too large" : NULL;
    }
    if (fd >= 0) {
        close(fd);
    }
    if (wrong != NULL) {
        buffer_printf(message, "%s: %s\n", path, wrong);
    }
    return wrong == NULL;
}

static struct span node_text(const yaml_node_t *node)
{
    return span_make((const char *)node->data.scalar.value, node->data.scalar.length);
}

static uint32_t node_line(const yaml_node_t *node)
{
    return (uint32_t)node->start_mark.line + 1;
}

/* Plain `key:` and `key: ~` are null in YAML, which no option is. Quoted, they are texts. */
static bool node_is_null(const yaml_node_t *node)
{
    struct span text = node_text(node);
    return node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (text.len == 0 || span_is(text, "~") || span_is(text, "null"));
}

/* Begins a problem line; the caller ends it. */
static void problem_begin(struct config_file *file, const yaml_node_t *node, struct span key)
{
    file->bad = true;
    buffer_printf(file->message, "%s:%u: ", file->path, node_line(node));
    if (key.len > 0) {
        buffer_append_json(file->message, key);
        buffer_append_string(file->message, ": ");
    }
}

static void problem(struct config_file *file, const yaml_node_t *node, struct span key,
                    const char *wrong)
{
    problem_begin(file, node, key);
    buffer_append_string(file->message, wrong);
    buffer_append_string(file->message, "\n");
}

/* Sets (or with config NULL checks) one value; on failure writes the line. */
static void value_set(struct config_file *file, struct config *config,
                      const struct config_option *option, const yaml_node_t *node)
{
    struct span key = span_of(option->name);
    if (node->type != YAML_SCALAR_NODE) {
        problem(file, node, key, "must be a single value here");
        return;
    }
    if (node_is_null(node)) {
        problem(file, node, key, "has no value");
        return;
    }
    struct buffer wrong;
    buffer_init(&wrong, 1024);
    if (!config_value_set(config, option, node_text(node), &wrong)) {
        problem_begin(file, node, key);
        if (option->kind == CONFIG_KIND_LIST) {
            buffer_append_json(file->message, node_text(node));
            buffer_append_string(file->message, " ");
        }
        buffer_append_span(file->message, buffer_span(&wrong));
        buffer_append_string(file->message, "\n");
    }
    buffer_fini(&wrong);
}

static void sequence_set(struct config_file *file, struct config *config,
                         const struct config_option *option, const yaml_node_t *node)
{
    if (node->type == YAML_SCALAR_NODE) {
        value_set(file, config, option, node);
        return;
    }
    if (node->type != YAML_SEQUENCE_NODE) {
        problem(file, node, span_of(option->name), "must be a value or a sequence of values");
        return;
    }
    for (yaml_node_item_t *item = node->data.sequence.items.start;
         item < node->data.sequence.items.top; item++) {
        value_set(file, config, option, yaml_document_get_node(file->document, *item));
    }
}

static void mapping_set(struct config_file *file, struct config *config,
                        const struct config_option *option, const yaml_node_t *node)
{
    struct span name = span_of(option->name);
    if (node->type != YAML_MAPPING_NODE) {
        problem(file, node, name, "must be a mapping");
        return;
    }
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(file->document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(file->document, pair->value);
        if (key->type != YAML_SCALAR_NODE || value->type != YAML_SCALAR_NODE ||
            node_is_null(value)) {
            problem(file, key, name, "must map single values to single values");
            continue;
        }
        struct buffer text;
        struct buffer wrong;
        buffer_init(&text, CONFIG_FILE_BYTES_MAX);
        buffer_init(&wrong, 1024);
        buffer_append_span(&text, node_text(key));
        buffer_append_string(&text, "=");
        buffer_append_span(&text, node_text(value));
        if (!config_value_set(config, option, buffer_span(&text), &wrong)) {
            problem_begin(file, key, name);
            buffer_append_json(file->message, buffer_span(&text));
            buffer_append_string(file->message, " ");
            buffer_append_span(file->message, buffer_span(&wrong));
            buffer_append_string(file->message, "\n");
        }
        buffer_fini(&wrong);
        buffer_fini(&text);
    }
}

/* One `key: value` of the file. `seen` has one flag per option. */
static void pair_read(struct config_file *file, const yaml_node_pair_t *pair, bool *seen)
{
    const yaml_node_t *key = yaml_document_get_node(file->document, pair->key);
    const yaml_node_t *value = yaml_document_get_node(file->document, pair->value);
    if (key->type != YAML_SCALAR_NODE) {
        problem(file, key, span_of(""), "a key must be the name of an option");
        return;
    }
    struct span name = node_text(key);
    const struct config_option *option = config_option_find(name);
    if (option == NULL || option->kind == CONFIG_KIND_COMMAND) {
        problem_begin(file, key, name);
        buffer_append_string(file->message, "unknown key");
        config_option_suggest(name, config_option_spell_key, file->message);
        buffer_append_string(file->message, "\n");
        return;
    }
    if ((option->flags & CONFIG_NOT_IN_FILE) != 0) {
        problem(file, key, name, "cannot be set in the file");
        return;
    }
    if (seen[config_option_index(option)]) {
        problem(file, key, name, "is given twice");
        return;
    }
    seen[config_option_index(option)] = true;
    struct config_origin origin = {.source = CONFIG_SOURCE_FILE, .line = node_line(key)};
    bool decides = config_value_open(file->config, option, origin);
    struct config *config = decides ? file->config : NULL;
    if (option->kind == CONFIG_KIND_LIST) {
        sequence_set(file, config, option, value);
    } else if (option->kind == CONFIG_KIND_MAP) {
        mapping_set(file, config, option, value);
    } else {
        value_set(file, config, option, value);
    }
}

static void document_read(struct config_file *file)
{
    const yaml_node_t *root = yaml_document_get_root_node(file->document);
    if (root == NULL) {
        return; /* an empty file says nothing */
    }
    if (root->type != YAML_MAPPING_NODE) {
        problem(file, root, span_of(""), "the file must be a mapping of option names to values");
        return;
    }
    bool seen[CONFIG_OPTION_COUNT_MAX] = {false};
    for (yaml_node_pair_t *pair = root->data.mapping.pairs.start;
         pair < root->data.mapping.pairs.top; pair++) {
        pair_read(file, pair, seen);
    }
}

/* Loads the next document; false with a problem line when the text is not YAML. */
static bool document_load(struct config_file *file, yaml_parser_t *parser,
                          yaml_document_t *document)
{
    if (yaml_parser_load(parser, document) != 0) {
        return true;
    }
    file->bad = true;
    buffer_printf(file->message, "%s:%zu: %s\n", file->path, parser->problem_mark.line + 1,
                  parser->problem == NULL ? "no memory" : parser->problem);
    return false;
}

bool config_file_load(struct config *config, const char *path, struct buffer *message)
{
    struct buffer content;
    buffer_init(&content, CONFIG_FILE_BYTES_MAX);
    yaml_parser_t parser;
    yaml_document_t document;
    struct config_file file = {.config = config, .path = path, .message = message};
    if (!file_read(path, &content, message)) {
        buffer_fini(&content);
        return false;
    }
    if (content.len == 0) {
        return true; /* an empty file owns no memory and says nothing; libyaml wants some */
    }
    if (yaml_parser_initialize(&parser) == 0) {
        buffer_printf(message, "%s: no memory\n", path);
        buffer_fini(&content);
        return false;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)content.bytes, content.len);
    if (document_load(&file, &parser, &document)) {
        file.document = &document;
        document_read(&file);
        bool was_empty = yaml_document_get_root_node(&document) == NULL;
        yaml_document_delete(&document);
        /* Past the end of the stream the parser yields a document without a root. */
        if (!was_empty && document_load(&file, &parser, &document)) {
            const yaml_node_t *more = yaml_document_get_root_node(&document);
            if (more != NULL) {
                problem(&file, more, span_of(""), "only one document is read");
            }
            yaml_document_delete(&document);
        }
    }
    yaml_parser_delete(&parser);
    buffer_fini(&content);
    return !file.bad;
}

/* RFC 6750, 2.1: what can stand behind "Bearer " in one field, and no space. */
static const char *token_check(struct span token)
{
    if (token.len == 0) {
        return "is empty";
    }
    if (token.len > CONFIG_TOKEN_BYTES_MAX) {
        return "is longer than 4096 bytes";
    }
    for (size_t i = 0; i < token.len; i++) {
        if (token.bytes[i] <= ' ' || token.bytes[i] > '~') {
            return "may hold visible ASCII characters only, and no spaces";
        }
    }
    return NULL;
}

bool config_tokens_parse(struct config *config, struct span text, const char *where,
                         struct buffer *message)
{
    size_t at = 0;
    uint32_t line = 0;
    if (text.bytes == NULL) {
        text = span_of("");
    }
    do {
        line++;
        const char *newline = text.len > at ? memchr(text.bytes + at, '\n', text.len - at) : NULL;
        size_t end = newline == NULL ? text.len : (size_t)(newline - text.bytes);
        struct span token = span_make(text.bytes + at, end - at);
        if (token.len > 0 && token.bytes[token.len - 1] == '\r') {
            token.len--;
        }
        const char *wrong = token_check(token);
        if (wrong == NULL && config->tokens.count == CONFIG_TOKEN_COUNT_MAX) {
            wrong = "is one too many; 16 are kept";
        }
        if (wrong == NULL && !config_list_append(&config->tokens, token)) {
            wrong = "found no memory";
        }
        if (wrong != NULL) {
            buffer_printf(message, "%s: the token in line %u %s\n", where, line, wrong);
            return false;
        }
        at = end + 1;
    } while (at < text.len);
    return true;
}

bool config_file_load_tokens(struct config *config, const char *path, struct buffer *message)
{
    struct buffer content;
    buffer_init(&content, (CONFIG_TOKEN_BYTES_MAX + 2) * CONFIG_TOKEN_COUNT_MAX);
    bool good = file_read(path, &content, message) &&
                config_tokens_parse(config, buffer_span(&content), path, message);
    if (content.bytes != NULL) {
        explicit_bzero(content.bytes, content.capacity);
    }
    buffer_fini(&content);
    return good;
}
