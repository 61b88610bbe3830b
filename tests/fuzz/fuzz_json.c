/* What the quick look says is surely valid, jansson reads. */
#include <jansson.h>

#include "proto/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (json_is_surely_valid(span_make((const char *)data, size))) {
        json_error_t error;
        json_t *document =
            json_loadb((const char *)data, size,
                       JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
        CHECK(document != NULL);
        json_decref(document);
    }
    return 0;
}
