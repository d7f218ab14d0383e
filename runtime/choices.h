/* An enum and the names of its values, in one list:
 *
 *   #define COMM_KIND_LIST(X) X(COMM_AUTO, "auto") X(COMM_NCCL, "nccl") X(COMM_STAGED, "staged")
 *   typedef enum { COMM_KIND_LIST(CHOICES_VALUE) } comm_kind;
 *   switch (kind) { COMM_KIND_LIST(CHOICES_RETURN_NAME) }
 *   CHOICES_TEXT(COMM_KIND_LIST)         "auto|nccl|staged": the `choices` of an option
 *
 * The values count from 0 in the order of the list: a value is the position of its name. */
#ifndef TALLY_CHOICES_H
#define TALLY_CHOICES_H

#define CHOICES_VALUE(value, name) value,
#define CHOICES_BAR_NAME(value, name) "|" name
#define CHOICES_TEXT(LIST) (&("" LIST(CHOICES_BAR_NAME))[1]) /* without the first bar */
/* clang-format off */
#define CHOICES_RETURN_NAME(value, name) case value: return name;
/* clang-format on */

#endif
