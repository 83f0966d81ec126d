/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Real fix 3, from 6.1.192: ucs2_strnlen() tests the length before it reads
 * the character.
 */
#include <linux/ucs2_string.h>

static unsigned long klp_ucs2_strnlen(const ucs2_char_t *s, size_t maxlength)
{
	unsigned long length = 0;

	while (length < maxlength && *s++ != 0)
		length++;
	return length;
}
