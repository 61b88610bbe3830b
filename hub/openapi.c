/* The description of the interface: hub/openapi.json, made into C at build by CMakeLists.txt. */
#include "hub/response.h"
#include "hub/routes.h"

extern const unsigned char openapi_json[];
extern const size_t openapi_json_size;

void look_openapi(struct call *call)
{
    response_send(
        call, &(struct response){.status = 200,
                                 .content_type = RESPONSE_JSON,
                                 .headers = span_of("Cache-Control: no-cache\r\n"),
                                 .body = span_make((const char *)openapi_json, openapi_json_size)});
}
