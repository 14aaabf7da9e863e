/* For scripts/release.sh: programs in Rust take their random bytes from bcryptprimitives.dll, which Wine lacks before
 * version 9. This stands in for it there, with random bytes from another library of the system. */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T length) {
    return SystemFunction036(buffer, (ULONG)length);
}
