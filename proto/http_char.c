#include "proto/http_char.h"

/* The grammar, spelled as constant expressions; the compiler makes the table of it. */
#define IN_DIGIT(c) ((c) >= '0' && (c) <= '9')
#define IN_ALPHA(c) (((c) >= 'A' && (c) <= 'Z') || ((c) >= 'a' && (c) <= 'z'))
#define IN_HEX(c)   (IN_DIGIT(c) || ((c) >= 'A' && (c) <= 'F') || ((c) >= 'a' && (c) <= 'f'))
#define IN_SPACE(c) ((c) == ' ' || (c) == '\t')
#define IN_VCHAR(c) ((c) > 0x20 && (c) < 0x7f)
#define IN_TEXT(c)  (IN_SPACE(c) || IN_VCHAR(c) || (c) >= 0x80)
#define IN_TOKEN(c)                                                                                \
    (IN_DIGIT(c) || IN_ALPHA(c) || (c) == '!' || (c) == '#' || (c) == '$' || (c) == '%' ||         \
     (c) == '&' || (c) == '\'' || (c) == '*' || (c) == '+' || (c) == '-' || (c) == '.' ||          \
     (c) == '^' || (c) == '_' || (c) == '`' || (c) == '|' || (c) == '~')
#define IN_TARGET(c) (IN_VCHAR(c) && (c) != '#')
#define IN_HOST(c)                                                                                 \
    (IN_DIGIT(c) || IN_ALPHA(c) || (c) == '-' || (c) == '.' || (c) == '_' || (c) == '~' ||         \
     (c) == '!' || (c) == '$' || (c) == '&' || (c) == '\'' || (c) == '(' || (c) == ')' ||          \
     (c) == '*' || (c) == '+' || (c) == ';' || (c) == '=')

#define CLASSES(c)                                                                                 \
    ((IN_TOKEN(c) ? HTTP_CHAR_TOKEN : 0) | (IN_TEXT(c) ? HTTP_CHAR_TEXT : 0) |                     \
     (IN_TARGET(c) ? HTTP_CHAR_TARGET : 0) | (IN_HOST(c) ? HTTP_CHAR_HOST : 0) |                   \
     (IN_DIGIT(c) ? HTTP_CHAR_DIGIT : 0) | (IN_HEX(c) ? HTTP_CHAR_HEX : 0) |                       \
     (IN_SPACE(c) ? HTTP_CHAR_SPACE : 0))
#define CLASSES_4(c)  CLASSES(c), CLASSES((c) + 1), CLASSES((c) + 2), CLASSES((c) + 3)
#define CLASSES_16(c) CLASSES_4(c), CLASSES_4((c) + 4), CLASSES_4((c) + 8), CLASSES_4((c) + 12)
#define CLASSES_64(c)                                                                              \
    CLASSES_16(c), CLASSES_16((c) + 16), CLASSES_16((c) + 32), CLASSES_16((c) + 48)

const uint8_t http_char_classes[256] = {CLASSES_64(0), CLASSES_64(64), CLASSES_64(128),
                                        CLASSES_64(192)};

struct span http_char_trim(struct span text)
{
    size_t lead = http_char_run(text.bytes, text.len, HTTP_CHAR_SPACE);
    size_t end = text.len;
    while (end > lead && http_char_is(text.bytes[end - 1], HTTP_CHAR_SPACE)) {
        end--;
    }
    return text.len == 0 ? text : span_make(text.bytes + lead, end - lead);
}
