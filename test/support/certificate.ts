// Self-signed certificates for tests, made by openssl.

import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import * as tls from 'node:tls'
import type { TlsFiles } from '../../edge/node/tls.ts'
import { openssl } from '../../scripts/install.mjs'

export const opensslFile = openssl.files.find((file) => existsSync(file)) ?? ''
/** Why tests with certificates are skipped, or false. */
export const opensslMissing = opensslFile === '' ? 'openssl is not installed' : false

/** Creates a self-signed certificate for 127.0.0.1, which this process trusts from now on unless `isTrusted` is false. */
export function createCertificate(folder: string, name: string, isTrusted = true): TlsFiles {
  const files = { certFile: join(folder, `${name}.crt`), keyFile: join(folder, `${name}.key`) }
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', files.keyFile]
  const subject = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '2']
  execFileSync(opensslFile, ['req', '-x509', ...key, ...subject, '-out', files.certFile], { stdio: 'pipe' })
  if (!isTrusted) return files
  const pem = execFileSync(opensslFile, ['x509', '-in', files.certFile]).toString()
  tls.setDefaultCACertificates([...tls.getCACertificates('default'), pem])
  return files
}
