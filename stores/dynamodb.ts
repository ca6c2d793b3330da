import { Type } from '@sinclair/typebox'
import { defineStore, Live } from '../lib/define-store.js'
import { dynamodbBackend } from './dynamodb-backend.js'
import { connectDynamodb } from './dynamodb-client.js'
import type { DynamodbClient, DynamodbCredentials } from './dynamodb-client.js'

export { cloudFormation, createTable } from './dynamodb-table.js'
export type { DynamodbTable } from './dynamodb-table.js'
export type { DynamodbClient, DynamodbCredentials } from './dynamodb-client.js'

/** Keeps sessions in Amazon DynamoDB. Needs the package @aws-sdk/client-dynamodb. */
export const dynamodbStore = defineStore({
  type: 'dynamodb',
  options: Type.Object({
    table: Type.String({
      default: 'sessions',
      pattern: '^[\\w.-]{3,255}$',
      expects: 'a name of 3 to 255 letters, digits and _ . -',
      description: 'The table. It is made by createTable or CloudFormation, never by the store.'
    }),
    prefix: Type.String({
      default: 'session:',
      pattern: '^[\\w.:/-]{1,200}$',
      expects: 'a text of 1 to 200 letters, digits and _ . : / -',
      description: 'What all keys begin with.'
    }),
    region: Type.Optional(Type.String({
      minLength: 1,
      description: 'The AWS Region. Default: as the AWS SDK finds it (AWS_REGION, the shared configuration).'
    })),
    endpoint: Type.Optional(Type.String({
      pattern: '^https?://',
      expects: 'a URL that begins with http:// or https://',
      description: 'The URL of another server than that of the Region, such as DynamoDB Local.'
    })),
    credentials: Type.Optional(Live<DynamodbCredentials>(
      'an object with accessKeyId and secretAccessKey, or a function that provides one', isCredentials,
      'Default: as the AWS SDK finds them (environment, shared configuration, the role of the machine).')),
    client: Type.Optional(Live<DynamodbClient>('a DynamoDBClient', isClient,
      'A DynamoDBClient that the application has already. It is used as it is and never closed.'))
  }),

  async open ({ table, prefix, ...ways }, context) {
    const { namespace, clock } = context
    const connection = await connectDynamodb(ways, context)
    return { backend: dynamodbBackend(connection, table, prefix + (namespace && `${namespace}:`), clock) }
  }
})

function isCredentials (value: unknown): boolean {
  if (typeof value === 'function') return true
  const { accessKeyId, secretAccessKey } = (value ?? {}) as Record<string, unknown>
  return typeof accessKeyId === 'string' && typeof secretAccessKey === 'string'
}

function isClient (value: unknown): boolean {
  return typeof (value as DynamodbClient | null)?.send === 'function'
}
