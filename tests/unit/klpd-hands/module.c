/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Not a program: compiled to object files that look like livepatch modules, for the reader of module files.
 * What they say of themselves comes from the command line of the compiler: -DMANAGED, -DPLAIN (both: a
 * contradiction), -DEXTRA="...".
 */
/* One array: compilers may order several as they like. */
__attribute__((section(".modinfo"), used, aligned(1))) static const char modinfo[] =
        "name=klp_unit\0"
        "vermagic=6.1.0-47-amd64 SMP preempt mod_unload modversions \0"
        "depends=klp_shim,ext4\0"
#ifndef NO_LIVEPATCH
        "livepatch=Y\0"
#endif
#ifndef NO_METADATA
        "klp_vendor=acme\0"
        "klp_stream=base\0"
        "klp_level=3\0"
        "klp_cumulative=Y\0"
        "klp_state=17:2:3:feature\0"
        "klp_state=0x20:1:0:\0"
        "klp_func=vmlinux:ip_options_get,1\0"
        "klp_fixes=CVE-2026-12345\0"
        "klp_requires=acme/base>=1\0"
        "klp_summary=Does things\0"
#endif
#ifdef EXTRA
        EXTRA "\0"
#endif
        ;

__attribute__((section(".gnu.linkonce.this_module"), used)) static char this_module[64];

extern int klp_shim_register_patch(void *patch);
extern int klp_enable_patch(void *patch);

int init_module(void);
int init_module(void) {
        int r = 0;

#ifdef MANAGED
        r += klp_shim_register_patch(this_module);
#endif
#ifdef PLAIN
        r += klp_enable_patch(this_module);
#endif
        return r;
}
