#include "tools/ctl/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BODY_SIZE_MAX       ((size_t)64 << 20)
#define CONNECT_SECONDS_MAX 5L
#define ANSWER_SECONDS_MAX  30L

/* What the callbacks of one request share. */
struct exchange {
    struct http *http;
    const struct http_request *request;
    struct http_answer *answer;
    size_t body_offset;
    uint64_t heard_ms; /* monotonic: when the last byte came */
    bool is_stopped;
    bool is_silent;
};

static uint64_t monotonic_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Whether the text is an address of a server, and nothing more. */
static bool url_is_server(const char *url)
{
    CURLU *parsed = curl_url();
    char *part = NULL;
    if (parsed == NULL) {
        abort();
    }
    bool is_good = curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK;
    const CURLUPart banned[] = {CURLUPART_QUERY, CURLUPART_FRAGMENT, CURLUPART_USER};
    for (size_t i = 0; is_good && i < countof(banned); i++) {
        is_good = curl_url_get(parsed, banned[i], &part, 0) != CURLUE_OK;
        curl_free(is_good ? NULL : part);
    }
    curl_url_cleanup(parsed);
    return is_good && (strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0);
}

bool http_init(struct http *http, const char *url)
{
    *http = (struct http){0};
    if (strncmp(url, "unix:/", 6) == 0) {
        http->socket_path = strdup(url + 5);
        http->base = strdup("http://localhost");
    } else if (url_is_server(url)) {
        http->base = strdup(url);
        for (size_t len = strlen(url); url[len - 1] == '/'; len--) {
            http->base[len - 1] = '\0';
        }
    } else {
        return false;
    }
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK ||
        (http->easy = curl_easy_init()) == NULL) {
        abort();
    }
    return true;
}

void http_fini(struct http *http)
{
    curl_easy_cleanup(http->easy);
    curl_global_cleanup();
    free(http->base);
    free(http->socket_path);
}

static size_t take_body(char *bytes, size_t unit, size_t count, void *context)
{
    struct exchange *exchange = context;
    long status = 0;
    exchange->heard_ms = monotonic_ms();
    curl_easy_getinfo(exchange->http->easy, CURLINFO_RESPONSE_CODE, &status);
    exchange->answer->status = (int)status;
    if (status == 200 && exchange->request->on_body != NULL) {
        const char *type = NULL;
        curl_easy_getinfo(exchange->http->easy, CURLINFO_CONTENT_TYPE, &type);
        exchange->answer->media_type = type != NULL ? type : "";
        exchange->is_stopped =
            !exchange->request->on_body(exchange->request->context, span_make(bytes, count));
        return exchange->is_stopped ? 0 : unit * count;
    }
    buffer_append(&exchange->answer->body, bytes, unit * count);
    return exchange->answer->body.failed ? 0 : unit * count;
}

static size_t give_body(char *bytes, size_t unit, size_t count, void *context)
{
    struct exchange *exchange = context;
    struct span body = exchange->request->body;
    size_t size = body.len - exchange->body_offset;
    size = size < unit * count ? size : unit * count;
    if (size > 0) {
        memcpy(bytes, body.bytes + exchange->body_offset, size);
        exchange->body_offset += size;
    }
    return size;
}

/* Called to begin a body again, for a second attempt: which is not to be. */
static int refuse_rewind(void *context, curl_off_t offset, int origin)
{
    (void)context;
    (void)offset;
    (void)origin;
    return CURL_SEEKFUNC_FAIL;
}

/* Called at least once a second while nothing comes. */
static int watch_silence(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    struct exchange *exchange = context;
    const uint64_t limit = exchange->request->idle_seconds;
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    exchange->is_silent = limit > 0 && monotonic_ms() - exchange->heard_ms >= limit * 1000;
    return exchange->is_silent;
}

static struct curl_slist *add_field(struct curl_slist *fields, const char *name, const char *value)
{
    char *line;
    if (asprintf(&line, "%s: %s", name, value) < 0) {
        abort();
    }
    struct curl_slist *longer = curl_slist_append(fields, line);
    free(line);
    if (longer == NULL) {
        abort();
    }
    return longer;
}

/* What holds for every request of this server. */
static void set_server(const struct http *http)
{
    CURL *easy = http->easy;
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS_MAX);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "spatectl/" SPATE_VERSION);
    curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, http->socket_path);
    if (http->token != NULL) {
        curl_easy_setopt(easy, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        curl_easy_setopt(easy, CURLOPT_XOAUTH2_BEARER, http->token);
    }
    if (http->ca_file != NULL) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, http->ca_file);
    }
    if (http->is_insecure) {
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
}

static void set_request(struct http *http, struct exchange *exchange, const char *url)
{
    CURL *easy = http->easy;
    const struct http_request *request = exchange->request;
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, http->problem);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, exchange);
    if (request->content_type != NULL) {
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
        curl_easy_setopt(easy, CURLOPT_READFUNCTION, give_body);
        curl_easy_setopt(easy, CURLOPT_READDATA, exchange);
        curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, refuse_rewind);
        /* Without a body there is nothing to rewind, and so nothing that keeps curl from it. */
        curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, request->body.len == 0 ? 1L : 0L);
    }
    if (request->on_body != NULL) {
        curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
        curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, watch_silence);
        curl_easy_setopt(easy, CURLOPT_XFERINFODATA, exchange);
    } else {
        curl_easy_setopt(easy, CURLOPT_TIMEOUT, ANSWER_SECONDS_MAX);
    }
}

/* Puts why it failed into words, where curl's own say little. */
static void explain(struct http *http, CURLcode code)
{
    long error = 0;
    curl_easy_getinfo(http->easy, CURLINFO_OS_ERRNO, &error);
    if (code == CURLE_COULDNT_CONNECT && error != 0) {
        snprintf(http->problem, sizeof(http->problem), "%s: %s",
                 http->socket_path != NULL ? http->socket_path : http->base, strerror((int)error));
    } else if (strstr(http->problem, "wrong version number") != NULL) {
        snprintf(http->problem, sizeof(http->problem),
                 "the server does not speak TLS there; is it http:// instead of https://?");
    } else if (http->problem[0] == '\0') {
        snprintf(http->problem, sizeof(http->problem), "%s", curl_easy_strerror(code));
    }
}

static enum http_outcome outcome_of(const struct exchange *exchange, CURLcode code)
{
    if (exchange->is_stopped) {
        return HTTP_STOPPED;
    }
    if (exchange->is_silent) {
        return HTTP_SILENT;
    }
    if (code == CURLE_OK) {
        return HTTP_ANSWERED;
    }
    explain(exchange->http, code);
    /* Every step before the first byte of the request. */
    const CURLcode before[] = {CURLE_COULDNT_CONNECT, CURLE_COULDNT_RESOLVE_HOST,
                               CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION,
                               CURLE_SSL_CACERT_BADFILE};
    for (size_t i = 0; i < countof(before); i++) {
        if (code == before[i]) {
            return HTTP_UNREACHABLE;
        }
    }
    double connected = 0;
    curl_easy_getinfo(exchange->http->easy, CURLINFO_CONNECT_TIME, &connected);
    return code == CURLE_OPERATION_TIMEDOUT && connected == 0 ? HTTP_UNREACHABLE : HTTP_BROKEN;
}

enum http_outcome http_ask(struct http *http, const struct http_request *request,
                           struct http_answer *answer)
{
    struct exchange exchange = {
        .http = http, .request = request, .answer = answer, .heard_ms = monotonic_ms()};
    *answer = (struct http_answer){.media_type = ""};
    buffer_init(&answer->body, BODY_SIZE_MAX);
    char *url;
    if (asprintf(&url, "%s%s", request->path[0] == '/' ? http->base : "", request->path) < 0) {
        abort();
    }
    /* An Expect would cost a round trip for each large body. */
    struct curl_slist *fields = add_field(NULL, "Expect", "");
    fields = add_field(fields, "Accept", request->accept != NULL ? request->accept : "*/*");
    if (request->content_type != NULL) {
        fields = add_field(fields, "Content-Type", request->content_type);
    }
    if (request->last_event_id != NULL) {
        fields = add_field(fields, "Last-Event-ID", request->last_event_id);
    }
    http->problem[0] = '\0';
    curl_easy_reset(http->easy); /* keeps the connection */
    set_server(http);
    set_request(http, &exchange, url);
    curl_easy_setopt(http->easy, CURLOPT_HTTPHEADER, fields);
    CURLcode code = curl_easy_perform(http->easy);
    enum http_outcome outcome = outcome_of(&exchange, code);

    long status = 0;
    curl_off_t retry_after = 0;
    const char *type = NULL;
    curl_easy_getinfo(http->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(http->easy, CURLINFO_RETRY_AFTER, &retry_after);
    curl_easy_getinfo(http->easy, CURLINFO_CONTENT_TYPE, &type);
    answer->status = (int)status;
    answer->retry_after_seconds = retry_after > 0 ? (uint64_t)retry_after : 0;
    answer->media_type = type != NULL ? type : "";
    buffer_append(&answer->body, "", 1);
    if (answer->body.failed) {
        outcome = HTTP_BROKEN;
        snprintf(http->problem, sizeof(http->problem), "the answer is too long");
    } else {
        answer->body.len--;
    }
    curl_slist_free_all(fields);
    free(url);
    return outcome;
}

void http_answer_fini(struct http_answer *answer)
{
    buffer_fini(&answer->body);
}
